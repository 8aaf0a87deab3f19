"""From `idiolect up FOLDER` to the first answerable question.

A folder of files made of README-sized Markdown is indexed once by the command itself. Then the command is started again
with nothing changed, several times: seconds from the start of the process until /healthz says 200, with the embedded
models already fetched. There is no rival that does the same job; the ratio is to the ten seconds that the project
allows itself. Importing torch alone, in a process of its own, is printed beside it: nothing that loads a model can be
faster.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Result, spread, timed

SUMMARY = "Seconds from `idiolect up` to ready, warm, on a folder of unchanged files."
GOAL = 10.0


def make_folder(folder: Path, files: int, words: int) -> None:
    """Markdown files with headings and paragraphs of invented words, the same for the same numbers."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("bcdfglmnprst", k=1) + draw.choices("aeiou", k=1)) for _ in range(60)]
    lexicon = ["".join(draw.choices(vocabulary, k=draw.randint(1, 4))) for _ in range(8000)]
    for i in range(files):
        place = folder / f"part{i % 20:02}"
        place.mkdir(parents=True, exist_ok=True)
        lines = [f"# Note {i}"]
        for section in range(3):
            lines += ["", f"## Section {section}", "", " ".join(draw.choices(lexicon, k=words // 3)) + "."]
        (place / f"note{i:04}.md").write_text("\n".join(lines) + "\n")


def until_ready(folder: Path, home: Path, options: list[str], most: float) -> float:
    """Seconds from the start of the process to the first 200 of /healthz; the server is stopped afterwards."""
    import httpx2

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "idiolect", "up", str(folder), "--port", str(port)]
    command += ["--store", str(home / "store.sqlite"), "--index", str(home / "index"), *options]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with httpx2.Client(trust_env=False, timeout=5) as http:
            while True:
                seconds = time.perf_counter() - begin
                if process.poll() is not None:
                    said = process.stderr.read().decode()[-500:] if process.stderr else ""
                    raise SystemExit(f"idiolect up ended with {process.returncode}: {said}")
                if seconds > most:
                    raise SystemExit(f"not ready after {most:g} s")
                try:
                    if http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                        return time.perf_counter() - begin
                except httpx2.TransportError:
                    pass
                time.sleep(0.02)
    finally:
        process.terminate()
        process.wait(timeout=30)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=1000, help="files in the folder (default %(default)s)")
    parser.add_argument("--words", type=int, default=150, help="words of a file (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="warm starts (default %(default)s)")
    parser.add_argument("--option", action="append", default=[], help="passed on to idiolect up")


def run(args: argparse.Namespace) -> Result:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    def torch_alone() -> object:
        return subprocess.run([sys.executable, "-c", "import torch"], check=True, env=environment)

    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place) / "docs", Path(place) / "home"
        home.mkdir()
        make_folder(folder, args.files, args.words)
        cold = until_ready(folder, home, args.option, most=1800)
        print(f"first start, everything to index: {cold:.1f} s for {args.files} files")
        warm, floor = [], []
        for _ in range(args.rounds):
            floor.append(timed(torch_alone))
            warm.append(until_ready(folder, home, args.option, most=120))
    ours, alone = spread(warm), spread(floor)
    print(f"warm start, nothing changed (min/median/max): {ours} s")
    print(f"importing torch alone:                        {alone} s   load {os.getloadavg()[0]:.1f}")
    return Result(
        bench="startup",
        ours=round(ours.median, 2),
        rival=GOAL,
        ratio=round(ours.median / GOAL, 2),
        unit="seconds to ready (the rival is the budget; lower is better)",
        n=args.rounds,
        goal=f"< {GOAL:g} s on 1,000 unchanged files",
        met=ours.median < GOAL,
        notes=[f"torch alone {alone.median:.2f} s", f"cold {cold:.1f} s"],
    )
