"""Packed weights on the disk: made once, found again, and made again when they are not what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idiolect.native.matrices import Matrix, plain_matrices
from idiolect.native.tiles import HEADER, Tiles
from idiolect.nn.stored import Piece, Stored


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path))
    return tmp_path


def matrices(seed: int = 0) -> list[Matrix]:
    """A fused matrix of floats and two more pieces, and a second matrix."""
    rng = np.random.default_rng(seed)

    def piece(rows: int) -> Piece:
        values = rng.standard_normal((rows, 64)).astype(np.float32)
        return Piece(0, values.view(np.uint8), rng.permutation(rows))

    return [
        *plain_matrices(Stored((piece(10), piece(23)), 64), None),
        *plain_matrices(Stored((piece(40),), 64), "q8"),
    ]


def test_the_second_time_they_are_mapped(lib: Any, home: Path) -> None:
    first = Tiles(lib, matrices())
    assert first.path is not None
    stamp = first.path.stat().st_mtime_ns
    again = Tiles(lib, matrices())
    assert again.path == first.path and again.path.stat().st_mtime_ns == stamp
    memory = Tiles(lib, matrices(), keep=False)
    for i in range(2):
        assert np.array_equal(first.view(i), again.view(i)) and np.array_equal(first.view(i), memory.view(i))
        assert first.address(i) % 64 == 0 and memory.address(i) % 64 == 0
    assert Tiles(lib, matrices(1)).path != first.path


@pytest.mark.parametrize("damage", ["flip", "cut", "header", "empty", "gone"])
def test_a_damaged_file_is_made_again(lib: Any, home: Path, damage: str) -> None:
    good = Tiles(lib, matrices(), keep=False)
    path = Tiles(lib, matrices()).path
    assert path is not None
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[HEADER + 1000] ^= 4
    if damage == "header":
        data[3] ^= 255
    path.unlink()
    if damage != "gone":
        path.write_bytes({"cut": data[:-100], "empty": b""}.get(damage, data))
    again = Tiles(lib, matrices())
    assert again.path == path
    assert all(np.array_equal(again.view(i), good.view(i)) for i in range(2))


def test_where_nothing_can_be_written_they_live_in_memory(lib: Any, home: Path) -> None:
    (home / "cache").mkdir()
    (home / "cache" / "packed").write_text("in the way")
    tiles = Tiles(lib, matrices())
    assert tiles.path is None and np.array_equal(tiles.view(0), Tiles(lib, matrices(), keep=False).view(0))
