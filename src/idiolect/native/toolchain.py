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
# No contraction: a product and a sum must round alike in every loop that computes the same row.
COMMON = ("-std=c++20", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
UNITS = ("team", "pack", "program", "measure")
X86: dict[str, tuple[str, ...]] = {
    "portable": (),
    "avx2": ("-DIDL_AVX2", "-mavx2", "-mfma", "-mf16c"),
    "avx2vnni": ("-DIDL_AVX2VNNI", "-mavx2", "-mavxvnni", "-mfma", "-mf16c"),
    "avx512": ("-DIDL_AVX512", *(f"-mavx512{x}" for x in ("f", "bw", "vl", "dq", "vnni")), "-mfma", "-mf16c"),
}
ARM: dict[str, tuple[str, ...]] = {"portable": (), "neon": ("-DIDL_NEON", "-march=armv8.2-a+dotprod+fp16")}
ZIG = {"-march=armv8.2-a+dotprod+fp16": "-mcpu=generic+dotprod+fullfp16"}
OTHER: dict[str, tuple[str, ...]] = {"portable": ()}


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to call it, and what it says it is."""

    command: tuple[str, ...]
    version: str


def variants(every: bool = False) -> dict[str, tuple[str, ...]]:
    """The instruction sets to compile for, with their flags: the best that this processor has (`every`: all that its
    architecture has, for tests; each costs some seconds). An unknown processor gets all, and the library chooses."""
    machine = platform.machine().lower()
    flags = processor_flags()
    if machine in ("x86_64", "amd64"):
        known, needs = X86, {"avx512": "avx512_vnni", "avx2vnni": "avx_vnni", "avx2": "avx2"}
    elif machine in ("aarch64", "arm64"):
        known, needs = ARM, {"neon": "asimddp"}
    else:
        known, needs = OTHER, {}
    if every or not flags:
        return known
    best = next((name for name, flag in needs.items() if flag in flags), "portable")
    return {best: known[best]}


def processor_flags() -> frozenset[str]:
    """What Linux says the processor can do; empty where nobody says."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def find() -> Compiler:
    """$CXX, the system's compiler, or the `ziglang` package. `Unavailable` when there is none."""
    named = os.environ.get("CXX", "").split()
    choices: list[tuple[str, ...]] = [tuple(named)] if named else [("c++",), ("g++",), ("clang++",)]
    if importlib.util.find_spec("ziglang") is not None:
        choices.append((sys.executable, "-m", "ziglang", "c++"))
    for command in choices:
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return Compiler(command, asked.stdout.splitlines()[0] if asked.stdout else "")
    raise Unavailable(
        "there is no C++ compiler for the fast kernels", hint="install g++ or clang++, or: pip install ziglang"
    )


def build(every: bool = False) -> Path:
    """The path of the built library; builds it when this machine has not yet. Raises `Unavailable` with the reason.
    `every` builds all instruction sets of the architecture."""
    flags = variants(every)
    folder = _folder(flags)
    target = _newest(folder)  # a library that was built before serves without the compiler that built it
    if target is not None:
        return target
    compiler = find()
    target = folder / f"idiolect-{hashlib.sha256(repr(compiler).encode()).hexdigest()[:12]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):
        if not target.exists():
            _compile(compiler, flags, target)
    return target


def status() -> str:
    """What `build` would do, without doing it: "built for ...", or "to be built ...". `Unavailable` with the reason."""
    flags = variants()
    names = ", ".join(flags)
    if _newest(_folder(flags)) is not None:
        return f"built for {names}"
    return f"to be built for {names} on first use by {find().version}"


def is_built() -> bool:
    """Whether `build` would return at once."""
    return _newest(_folder(variants())) is not None


def _folder(flags: dict[str, tuple[str, ...]]) -> Path:
    """One folder for each state of the sources and flags."""
    text = hashlib.sha256(repr((COMMON, flags, platform.machine(), sys.platform)).encode())
    for file in sorted(SOURCES.iterdir()):
        text.update(file.name.encode() + b"\0" + file.read_bytes())
    return cache_dir() / "kernels" / text.hexdigest()[:20]


def _newest(folder: Path) -> Path | None:
    """The library that was built last from these very sources, unless $CXX asks for a certain compiler."""
    if os.environ.get("CXX"):
        return None
    built = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_mtime)
    return built[-1] if built else None


def _spelt(flag: str, compiler: Compiler) -> str:
    """Zig names a processor's features in its own way."""
    return ZIG.get(flag, flag) if "ziglang" in compiler.command else flag


def _compile(compiler: Compiler, flags: dict[str, tuple[str, ...]], target: Path) -> None:
    jobs = [("kernels.cpp", extra, f"kernels_{name}.o") for name, extra in flags.items()]
    jobs += [(f"{name}.cpp", tuple(f"-DIDL_HAVE_{f.upper()}" for f in flags), f"{name}.o") for name in UNITS]
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as temp,
        progress("compiling the kernels", len(jobs) + 1) as bar,
    ):

        def run(arguments: list[str]) -> None:
            done = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                reason = [*(done.stderr or done.stdout).strip().splitlines(), "no reason given"][0]
                raise Unavailable(
                    f"the kernels did not compile with {compiler.version}: {reason}",
                    hint="set CXX to another compiler",
                )
            bar.advance()

        def one(job: tuple[str, tuple[str, ...], str]) -> str:
            source, extra, name = job
            out = str(Path(temp) / name)
            run([*COMMON, *(_spelt(flag, compiler) for flag in extra), "-c", str(SOURCES / source), "-o", out])
            return out

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            objects = list(pool.map(one, jobs))
        built = Path(temp) / "library.so"
        run(["-shared", "-o", str(built), *objects, "-lpthread"])
        built.replace(target)
