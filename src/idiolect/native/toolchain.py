"""Builds the kernels with whatever C++ compiler there is, once per machine, into the user's cache.

Nothing is compiled when the package is installed, so an installation cannot fail for want of a compiler. The first
load builds the library (some seconds) and keeps it under the hash of the sources, the compiler and the flags. Without
a compiler, or when the build fails, `build` says why and the engine runs on torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from idiolect.core.errors import Unavailable
from idiolect.core.files import cache_dir, lock
from idiolect.core.progress import progress

SOURCES = Path(__file__).parent / "csrc"
COMMON = ("-std=c++20", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-w")
X86 = {
    "portable": (),
    "avx2": ("-DIDL_AVX2", "-mavx2", "-mfma", "-mf16c"),
    "avx2vnni": ("-DIDL_AVX2VNNI", "-mavx2", "-mavxvnni", "-mfma", "-mf16c"),
    "avx512": ("-DIDL_AVX512", *(f"-mavx512{x}" for x in ("f", "bw", "vl", "dq", "vnni")), "-mfma", "-mf16c"),
}
ARM = {"portable": (), "neon": ("-DIDL_NEON", "-march=armv8.2-a+dotprod+fp16")}
OTHER = {"portable": ()}


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to call it, and what it says it is."""

    command: tuple[str, ...]
    version: str


def variants(machine: str | None = None) -> dict[str, tuple[str, ...]]:
    """The instruction sets that the kernels are compiled for, with their flags."""
    machine = (machine or platform.machine()).lower()
    if machine in ("x86_64", "amd64"):
        return X86
    return ARM if machine in ("aarch64", "arm64") else OTHER


def find() -> Compiler:
    """$CXX, the system's compiler, or the `ziglang` package. `Unavailable` when there is none."""
    named = os.environ.get("CXX", "").split()
    choices = [tuple(named)] if named else [("c++",), ("g++",), ("clang++",)]
    if importlib.util.find_spec("ziglang") is not None:
        choices.append((sys.executable, "-m", "ziglang", "c++"))
    for command in choices:
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return Compiler(command, asked.stdout.splitlines()[0] if asked.stdout else "")
    raise Unavailable(
        "no C++ compiler for the fast kernels", hint="install g++ or clang, or: pip install ziglang; torch serves so far"
    )


def build() -> Path:
    """The path of the built library; builds it when this machine has not yet. Raises `Unavailable` with the reason."""
    compiler = find()
    flags = variants()
    text = hashlib.sha256(repr((compiler.version, COMMON, flags, platform.machine(), sys.platform)).encode())
    for file in sorted(SOURCES.iterdir()):
        text.update(file.name.encode() + b"\0" + file.read_bytes())
    folder = cache_dir() / "kernels"
    target = folder / f"idiolect-{text.hexdigest()[:20]}.so"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):
        if not target.exists():
            _compile(compiler, flags, target)
    return target


def _compile(compiler: Compiler, flags: dict[str, tuple[str, ...]], target: Path) -> None:
    jobs = [("kernels.cpp", extra, f"kernels_{name}.o") for name, extra in flags.items()]
    jobs += [(f"{name}.cpp", (f"-DIDL_{platform.machine().upper()}",), f"{name}.o") for name in ("team", "pack", "program")]
    with tempfile.TemporaryDirectory(dir=target.parent) as temp, progress("compiling the kernels", len(jobs) + 1) as bar:

        def run(arguments: list[str]) -> None:
            done = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr or done.stdout).strip().splitlines()
                raise Unavailable(
                    f"the kernels did not compile with {compiler.version}: {reason[0] if reason else 'no reason given'}",
                    hint="torch serves instead; set CXX to another compiler",
                )
            bar.advance()

        def one(job: tuple[str, tuple[str, ...], str]) -> str:
            source, extra, name = job
            out = str(Path(temp) / name)
            run([*COMMON, *extra, "-c", str(SOURCES / source), "-o", out])
            return out

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            objects = list(pool.map(one, jobs))
        built = Path(temp) / "library.so"
        run(["-shared", "-o", str(built), *objects, "-lpthread"])
        built.replace(target)
