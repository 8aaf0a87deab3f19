"""Building the kernels: found again, built once, and a clear reason where they cannot be built."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from idiolect.core.errors import Unavailable
from idiolect.native import toolchain


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a compiler and with an empty cache."""
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path


def test_without_a_compiler_the_reason_is_said(bare: Path) -> None:
    for call in (toolchain.find, toolchain.build, toolchain.status):
        with pytest.raises(Unavailable, match=r"no C\+\+ compiler"):
            call()


def test_a_library_that_was_built_needs_no_compiler(bare: Path) -> None:
    folder = toolchain._folder(toolchain.variants())
    folder.mkdir(parents=True)
    (folder / "idiolect-0.so").write_bytes(b"")
    assert toolchain.build() == folder / "idiolect-0.so" and toolchain.status().startswith("built")


def test_a_compiler_that_fails_is_no_exception_of_its_own(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = bare / "c++"
    fake.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo fake 1.0; exit 0; fi\necho "no such flag" >&2\nexit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    monkeypatch.setenv("CXX", str(fake))
    with pytest.raises(Unavailable, match=r"fake 1\.0: no such flag"):
        toolchain.build()
    assert not list(bare.rglob("*.so"))


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler here")
def test_the_sources_compile_without_a_warning(tmp_path: Path) -> None:
    import subprocess

    for unit in ("kernels", *toolchain.UNITS):
        command = ["c++", *toolchain.COMMON, "-O0", "-Wall", "-Wextra", "-c", str(toolchain.SOURCES / f"{unit}.cpp")]
        done = subprocess.run([*command, "-o", str(tmp_path / "x.o")], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "", done.stderr[:2000]


def test_the_package_carries_the_sources() -> None:
    names = {path.name for path in toolchain.SOURCES.iterdir()}
    assert {"api.h", "kernels.cpp", "matmul.inl", "team.cpp", "pack.cpp", "program.cpp", "vec.h"} <= names
