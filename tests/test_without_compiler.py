"""A machine without a C++ compiler. `pytest --no-compiler` runs any test as there; these are the essentials, for CI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HIDDEN = """
import subprocess, sys
from pathlib import Path
from tests.conftest import hide_compilers
hide_compilers(Path(sys.argv[1]))
sys.exit(subprocess.run([sys.executable, *sys.argv[2:]]).returncode)
"""


def hidden(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in a process that finds no compiler and an empty cache of kernels."""
    command = [sys.executable, "-c", HIDDEN, str(folder), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_nothing_finds_a_compiler_and_everything_else_is_there(tmp_path: Path) -> None:
    code = "import shutil; print([shutil.which(name) for name in ('c++', 'g++', 'clang++', 'zig')], shutil.which('ls'))"
    found = hidden(tmp_path / "a", "-c", code).stdout
    assert found.startswith("[None, None, None, None] /")
    done = hidden(tmp_path / "b", "-m", "idiolect", "doctor", "--json")
    runner = next(f for f in json.loads(done.stdout)["findings"] if f["name"] == "runner")
    assert runner["state"] == "note" and "no C++ compiler" in runner["value"] and "g++" in runner["advice"]


@pytest.mark.slow
def test_questions_are_answered(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "rent.md").write_text("# Lease\n\nThe tenant pays a rent of 900 euros on the first of each month.\n")
    argv = ["-m", "idiolect", "ask", "How much is the rent?", "--docs", str(docs), "--json"]
    done = hidden(tmp_path / "machine", *argv)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "900 euros" in report["answer"] and report["citations"][0]["document"] == "rent.md"
    assert not list((tmp_path / "machine" / "home").rglob("*.so"))
