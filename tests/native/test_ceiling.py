"""The machine's ceilings: measured only when asked, remembered, and ceilings indeed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.errors import Unavailable
from idiolect.native import ceiling


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lib: Any) -> Path:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path))
    monkeypatch.setattr(ceiling, "library", lambda: lib)
    monkeypatch.setattr(ceiling, "SECONDS", 0.02)
    monkeypatch.setattr(ceiling, "TIMES", 2)
    monkeypatch.setattr(ceiling, "MEMORY", 32 << 20)
    return tmp_path


def test_measured_once_and_remembered(home: Path) -> None:
    assert ceiling.known(2) is None
    found = ceiling.measure(2)
    assert ceiling.known(2) == found and ceiling.known(1) is None
    assert found.threads == 2 and found.when <= time.time()
    assert 1e8 < found.bandwidth < 1e13 and 1e8 < found.float32 < 1e14 and found.int8 > 1e8
    assert found.arithmetic(True) == found.int8 and found.arithmetic(False) == found.float32
    (file,) = (home / "cache" / "machine").iterdir()
    file.write_text("{half")
    assert ceiling.known(2) is None


def test_without_kernels_torch_measures(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise Unavailable("no compiler")

    monkeypatch.setattr(ceiling, "library", none)
    found = ceiling.measure(1)
    assert found.by == "torch" and found.bandwidth > 1e8 and found.arithmetic(True) == found.float32 > 1e8
