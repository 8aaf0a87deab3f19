"""Untrusted programs, run by sandlock: Landlock and seccomp of the Linux kernel, for any user, root included.

What a program finds: one process (no fork, no exec of anything but the interpreter), the interpreter's own files and
the system's libraries to read, nothing to write, no socket, an empty environment, limits on time, memory, open files
and output. Landlock does not cover what changes a file without opening it (chmod, chown, times, attributes), nor
clocks, priorities and anonymous files; those system calls are refused altogether (`REFUSED`).

sandlock needs no privilege, no namespace and no daemon, so it works in a container as on a desktop; it asks for Linux
6.12 (Landlock 6). Where it cannot work `sandbox()` says so, and nothing is run. Bubblewrap, nsjail and gVisor need user
namespaces, which containers and several distributions refuse; a WebAssembly interpreter lacks half of what programs
import.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import IO, Any

from idiolect.core.errors import Unavailable
from idiolect.evals.sandbox.outcome import Limits, Outcome, Status

REFUSED = (
    # changing files without opening them
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes"),
    *("utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    # memory that is no mapping, and memory that cannot be taken back
    *("memfd_create", "memfd_secret", "shmget", "semget", "msgget", "mq_open", "mlock", "mlock2", "mlockall"),
    # the clock, the machine's name, who comes first
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname"),
    *("sched_setscheduler", "sched_setattr", "sched_setparam", "setpriority", "ioprio_set"),
    # looking into others, and becoming somebody else
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "kcmp", "perf_event_open"),
    *("setuid", "setgid", "setgroups", "setreuid", "setresuid", "setregid", "setresgid", "capset", "personality"),
    *("unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "move_mount", "fsopen", "open_tree"),
    # the kernel itself
    *("open_by_handle_at", "name_to_handle_at", "userfaultfd", "fanotify_init", "inotify_init1", "io_uring_setup"),
    *("bpf", "keyctl", "add_key", "request_key", "acct", "quotactl", "syslog", "swapon", "swapoff", "reboot"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "vhangup", "iopl", "ioperm"),
)
READABLE = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")
DRIVER = Path(__file__).with_name("driver.py")
GRACE = 5.0  # seconds that the end of a killed program may take


class Jail:
    """`Jail().run(program)`. One program at a time for each call; calls from several threads are independent."""

    name = "sandlock"

    def __init__(self, library: Any) -> None:
        self._library = library

    def run(self, program: str, limits: Limits | None = None) -> Outcome:
        """Run a Python program to its end or its limits; never raises for what the program does."""
        with _ALONE:
            return self._run(program, limits or Limits())

    def _run(self, program: str, limits: Limits) -> Outcome:
        word = secrets.token_hex(16).encode()
        piped = self._library.StdioMode.PIPED
        begin = time.perf_counter()
        try:
            process = self._box(limits).popen(
                [_python(), "-I", "-S", str(DRIVER)], stdin=piped, stdout=piped, stderr=piped
            )
        except RuntimeError as error:
            raise Unavailable(f"the sandbox did not start: {error}", hint="programs are not run") from None
        with process:
            taken = _Taken(limits.output, process)
            readers = [threading.Thread(target=taken.read, args=(n,), daemon=True) for n in ("stdout", "stderr")]
            feeder = threading.Thread(target=_feed, args=(process.stdin, word, program), daemon=True)
            for thread in (feeder, *readers):
                thread.start()
            # `wait` closes the pipes: what is still in them is read before.
            for thread in (feeder, *readers):
                thread.join(max(0.0, limits.seconds - (time.perf_counter() - begin)))
            result = process.wait(timeout=max(0.01, limits.seconds - (time.perf_counter() - begin)))
            for thread in readers:
                thread.join(GRACE)
        seconds = time.perf_counter() - begin
        printed, said = taken.bytes("stdout"), taken.bytes("stderr")
        end = b"\n" + word + b"\n"
        text = (printed.removesuffix(end) + said).decode(errors="replace")
        reasons = self._library.ExitReason
        status: Status
        if taken.full:
            status = "output"
        elif result.reason == reasons.TIMEOUT:
            status = "timeout"
        elif result.reason != reasons.EXITED:
            status = "killed"
        else:
            status = "passed" if result.exit_code == 0 and printed.endswith(end) else "failed"
        return Outcome(status, seconds, text)

    def _box(self, limits: Limits) -> Any:
        base = str(Path(sys.base_prefix).resolve())
        readable = [path for path in (*READABLE, base, str(DRIVER)) if Path(path).exists()]
        return self._library.Sandbox(
            fs_readable=readable,
            fs_writable=[],
            clean_env=True,
            env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/", "LC_ALL": "C.UTF-8"},
            cwd="/",
            max_memory=limits.memory,
            max_processes=1,
            max_open_files=limits.files,
            no_coredump=True,
            extra_deny_syscalls=list(REFUSED),
        )


# One program at a time: of several in one process now and then one was killed before it began (sandlock 0.9).
_ALONE = threading.Lock()


class _Taken:
    """What a program has printed; more than `limit` bytes end it."""

    def __init__(self, limit: int, process: Any) -> None:
        self.limit, self.process, self.full = limit, process, False
        self._parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._size = 0
        self._lock = threading.Lock()

    def read(self, name: str) -> None:
        stream = getattr(self.process, name)
        try:
            while part := stream.read(1 << 16):
                with self._lock:
                    self._parts[name].append(part[: max(0, self.limit - self._size)])
                    self._size += len(part)
                    self.full = self.full or self._size > self.limit
                if self.full:
                    self.process.kill()
                    return
        except (OSError, ValueError):  # the pipe went with the process
            return

    def bytes(self, name: str) -> bytes:
        with self._lock:
            return b"".join(self._parts[name])


def _feed(stream: IO[bytes], word: bytes, program: str) -> None:
    data = memoryview(word + b"\n" + program.encode(errors="replace"))
    try:
        while data:
            data = data[stream.write(data) :]
        stream.close()
    except (OSError, ValueError):
        return


def _python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@cache
def sandbox() -> Jail:
    """The sandbox of this machine, tried once. `Unavailable` says in one line why there is none."""
    if sys.platform != "linux":
        raise Unavailable("running programs needs a sandbox, which only Linux has", hint="use a Linux machine")
    try:
        import sandlock
    except (ImportError, OSError):
        raise Unavailable("running programs needs sandlock", hint="pip install 'idiolect[evals]'") from None
    has, needs = sandlock.landlock_abi_version(), sandlock.min_landlock_abi()
    if has < needs:
        raise Unavailable(
            f"running programs needs Landlock {needs}, and this kernel has {max(has, 0) or 'none'}",
            hint="Linux 6.12 or newer has it; in a container the host's kernel counts",
        )
    jail = Jail(sandlock)
    tried = jail.run("open('/etc/passwd')", Limits(seconds=30))
    if tried.status != "failed" or "PermissionError" not in tried.output:
        raise Unavailable(
            f"the sandbox does not hold on this machine: {tried.output.strip()[-200:] or tried.status}",
            hint="programs are not run",
        )
    return jail
