"""The NEON kernels against the portable ones, cross-compiled by zig and run under qemu's user emulation."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.native import toolchain

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


@pytest.mark.slow
@pytest.mark.skipif(QEMU is None, reason="no qemu-aarch64 here")
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="no ziglang to cross-compile with")
def test_neon_equals_portable(tmp_path: Path) -> None:
    zig = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-linux-musl", "-static"]
    common = [*zig, *toolchain.COMMON, "-O2", f"-I{toolchain.SOURCES}"]
    for name, flags in toolchain.ARM.items():
        spelt = [toolchain.ZIG.get(flag, flag) for flag in flags]
        source = str(toolchain.SOURCES / "kernels.cpp")
        subprocess.run([*common, *spelt, "-c", source, "-o", str(tmp_path / f"{name}.o")], check=True)
    sources = [str(toolchain.SOURCES / f"{unit}.cpp") for unit in toolchain.UNITS]
    sources += [str(Path(__file__).parent / "isa_check.cpp"), *map(str, tmp_path.glob("*.o"))]
    have = [f"-DIDL_HAVE_{name.upper()}" for name in toolchain.ARM]
    subprocess.run([*common, *have, *sources, "-o", str(tmp_path / "check")], check=True)
    command = [str(QEMU), "-cpu", "max", str(tmp_path / "check"), "neon"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") > 30
