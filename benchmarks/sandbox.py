"""Programs that mean harm, and the machine afterwards.

Each runs in the sandbox of HumanEval and MBPP. It must not print that it got what it wanted,
must be over within its time, and must leave nothing: no process, no file, no change to the files and folders that it
went for, a canary process alive and unsignalled, memory as before.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Result, data_path
from benchmarks.hostile import Hostile, programs
from idiolect.evals.types import Generated

SUMMARY = "Hostile programs in the sandbox that runs HumanEval and MBPP."

CANARY = (
    "import signal,time; signal.signal(signal.SIGUSR1, lambda *_: exit(3)); print('up', flush=True); time.sleep(3600)"
)


class Host:
    """What hostile programs go for, and whether it is still as it was."""

    def __init__(self, folder: Path) -> None:
        self.home, self.outside = folder / "home", folder / "outside"
        for place in (self.home, self.outside):
            place.mkdir()
        (self.home / "secret").write_text("secret")
        (self.outside / "kept").write_text("kept")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.daemon = socket.socket(socket.AF_UNIX)
        self.daemon.bind(str(folder / "daemon"))
        self.daemon.listen()
        self.canary = subprocess.Popen([sys.executable, "-c", CANARY], stdout=subprocess.PIPE)
        assert self.canary.stdout is not None
        self.canary.stdout.readline()
        self.folder = folder
        self.before = self.state()

    def programs(self) -> list[Hostile]:
        return programs(
            home=str(self.home),
            outside=str(self.outside),
            socket=str(self.folder / "daemon"),
            parent=str(os.getpid()),
            canary=str(self.canary.pid),
            port=str(self.server.getsockname()[1]),
        )

    def state(self) -> dict[str, object]:
        kept = (self.outside / "kept").stat() if (self.outside / "kept").exists() else None
        return {
            "files": sorted(str(p) for p in self.folder.rglob("*")),
            "loose files": sorted(str(place / f) for place in PUBLIC for f in WATCHED if (place / f).exists()),
            "kept": kept and (kept.st_size, kept.st_mode, kept.st_mtime, kept.st_uid),
            "canary": self.canary.poll(),
            "children": sorted(children() - {self.canary.pid}),
        }

    def changed(self) -> list[str]:
        """What is not as it was; processes that are just ending get a moment."""
        for _ in range(20):
            now = self.state()
            wrong = [name for name in now if now[name] != self.before[name]]
            if not wrong:
                return []
            time.sleep(0.1)
        return wrong

    def close(self) -> None:
        self.server.close()
        self.daemon.close()
        self.canary.send_signal(signal.SIGKILL)
        self.canary.wait()
        if self.canary.stdout is not None:
            self.canary.stdout.close()


PUBLIC = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
WATCHED = ("filler", "link", "file0", "written")


HERE = Path(__file__).parents[1]


def children() -> set[int]:
    """This process's descendants, zombies left out, and everything that once ran the sandbox's driver."""
    found: dict[int, tuple[int, str]] = {}
    strays = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            rest = text.rsplit(")", 1)[1].split()
            found[int(entry.name)] = (int(rest[1]), rest[0])
            if b"evals/sandbox/driver.py" in command and rest[0] != "Z" and int(rest[1]) in (1, os.getpid()):
                strays.add(int(entry.name))
    mine = {os.getpid()}
    for _ in range(8):
        mine |= {pid for pid, (parent, _) in found.items() if parent in mine}
    return {pid for pid in mine - {os.getpid()} if found[pid][1] != "Z"} | strays


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def solutions(data: str) -> list[str]:
    """The data sets' own solutions must pass, and each followed by a wrong value must not."""
    from idiolect.evals import tasks

    base = data_path(data, "bench")
    notes = []
    for name, key in (("humaneval", "canonical_solution"), ("mbpp", "code")):
        task = tasks.load(name, base)
        items = list(task.items())
        begin = time.perf_counter()
        passed = [task.grade(item, Generated(item.target[key]))["pass_at_1"] == 1 for item in items]
        seconds = time.perf_counter() - begin
        spoilt = [task.grade(item, Generated(SPOILT[name](item.target)))["pass_at_1"] == 1 for item in items[:100]]
        failed = [item.id for item, ok in zip(items, passed, strict=True) if not ok]
        notes.append(
            f"{name}: {sum(passed)} of {len(passed)} reference solutions pass ({1e3 * seconds / len(items):.0f} ms "
            f"each), {sum(spoilt)} of {len(spoilt)} empty ones; not passed: {', '.join(failed) or 'none'}"
        )
        print(notes[-1])
    return notes


SPOILT = {"humaneval": lambda row: "    return None\n", "mbpp": lambda row: "pass\n"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=3.0, help="time limit of each program")
    parser.add_argument("--solutions", action="store_true", help="also run all reference solutions of --data/bench")
    parser.add_argument("--only", default="", help="run the programs whose name has this in it")


def run(args: argparse.Namespace) -> Result:
    from idiolect.evals.sandbox import Limits, sandbox

    jail, limits = sandbox(), Limits(seconds=args.seconds, memory=256 << 20)
    stopped = 0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        chosen = [one for one in host.programs() if args.only in one.name]
        start = resident()
        for one in chosen:
            outcome = jail.run(one.program, limits)
            changed = host.changed()
            fine = "HARMED" not in outcome.output and not changed and outcome.seconds < args.seconds + 5
            stopped += fine
            said = outcome.output.replace(str(HERE), ".").replace(folder, "$TMP")  # this machine's folders are its own
            last = said.strip().splitlines()[-1:] or [""]
            word = "stopped" if fine else "HARM"
            print(f"{one.name:38} {word:8} {outcome.status:8} {outcome.seconds:6.2f} s  {last[0][:60]}")
            if not fine:
                wrong.append(f"{one.name}: {changed or 'got what it wanted'}")
        grown = resident() - start
        host.close()
    if args.solutions:
        wrong += solutions(args.data)
    print(f"this process grew by {grown / 1e6:.1f} MB")
    n = len(chosen)
    return Result(
        "sandbox", stopped, None, None, f"of {n} hostile programs stopped", n,
        goal="every one of at least 20", met=stopped == n and n >= 20,
        notes=[*wrong, f"as {'root' if os.getuid() == 0 else 'an ordinary user'}, by {jail.name}"],
    )  # fmt: skip
