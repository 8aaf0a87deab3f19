"""Products with packed weights against `gguf`'s own dequantisation: every type, every instruction set, odd shapes."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as T
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.native.library import Q4, Q8, Q8C, Q8H
from idiolect.native.matrices import KINDS, NAMES, Matrix, Part, wider
from idiolect.native.program import Team
from idiolect.native.tiles import Tiles
from idiolect.nn.stored import Piece

TYPES = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
WHOLE = {T.Q4_K, T.Q5_K, T.Q6_K}  # blocks of 256
# Float weights meet float activations; codes meet activations rounded to 8 bits.
ERROR = {T.F32: 1e-5, T.F16: 1e-5, T.BF16: 1e-5}


def rows(kind: T, count: int, width: int, rng: np.random.Generator) -> Piece:
    """Random rows of a type, as a file has them."""
    if kind in WHOLE:  # gguf cannot quantise to these: random codes, and scales of a sensible size
        block, size = gguf.GGML_QUANT_SIZES[kind]
        data = rng.integers(0, 256, (count, width // block, size), dtype=np.uint8)
        scale = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
        for at in (208,) if kind == T.Q6_K else (0, 2):
            data[..., at : at + 2] = scale
        return Piece(int(kind), data.reshape(count, -1))
    values = rng.standard_normal((count, width)).astype(np.float32) * 0.05
    return Piece(int(kind), np.ascontiguousarray(gguf.quants.quantize(values, kind)).view(np.uint8).reshape(count, -1))


def packed(lib: Any, piece: Piece, width: int, kind: int | None = None) -> Tiles:
    order = np.arange(piece.rows, dtype=np.int32)
    matrix = Matrix(KINDS[piece.type] if kind is None else kind, piece.rows, width, (Part(piece, order),))
    return Tiles(lib, [matrix], keep=False)


def product(lib: Any, team: Team, tiles: Tiles, kind: int, n: int, x: np.ndarray) -> np.ndarray:
    y = np.full((len(x), n), np.nan, np.float32)
    lib.idl_matmul(team.handle, kind, tiles.address(0), n, x.shape[1], x.ctypes.data, len(x), y.ctypes.data)
    return y


def unpacked(lib: Any, tiles: Tiles, kind: int, n: int, width: int) -> np.ndarray:
    out, index = np.zeros((n, width), np.float32), np.arange(n, dtype=np.int32)
    lib.idl_unpack(kind, tiles.address(0), width, index.ctypes.data, n, out.ctypes.data)
    return out


@pytest.mark.parametrize("kind", TYPES, ids=lambda t: t.name)
def test_products_equal_the_dequantised_ones(lib: Any, team: Team, isa: str, kind: T) -> None:
    rng = np.random.default_rng(3)
    for n, width in ((16, 256), (49, 512)) if kind in WHOLE else ((1, 32), (16, 64), (49, 160)):
        piece = rows(kind, n, width, rng)
        want_rows = piece.floats().numpy()
        tiles = packed(lib, piece, width)
        found = unpacked(lib, tiles, KINDS[piece.type], n, width)
        assert np.abs(found - want_rows).max() <= 1e-3 * np.abs(want_rows).max()
        for m in (1, 2, 7, 8, 9, 19):
            x = rng.standard_normal((m, width)).astype(np.float32)
            y = product(lib, team, tiles, KINDS[piece.type], n, x)
            want = x @ want_rows.T
            scale = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(want_rows, axis=1)[None]
            assert (np.abs(y - want) <= ERROR.get(kind, 1e-2) * scale + 1e-6).all(), (n, width, m)


@given(
    kind=st.sampled_from(TYPES),
    n=st.integers(1, 70),
    blocks=st.integers(1, 5),
    m=st.integers(2, 20),
    seed=st.integers(0, 99),
    threads=st.sampled_from([1, 4]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_does_not_depend_on_its_company(
    lib: Any, team: Team, kind: T, n: int, blocks: int, m: int, seed: int, threads: int
) -> None:
    """Any type, any shape: within the activations' rounding of the dequantised product; and the same bits alone, in
    any place of any batch, and with any number of threads."""
    rng = np.random.default_rng(seed)
    width = 256 * (1 + blocks % 2) if kind in WHOLE else 32 * blocks
    piece = rows(kind, n, width, rng)
    tiles = packed(lib, piece, width)
    x = rng.standard_normal((m, width)).astype(np.float32)
    together = product(lib, team, tiles, KINDS[piece.type], n, x)
    dense = piece.floats().numpy()
    scale = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(dense, axis=1)[None]
    assert (np.abs(together - x @ dense.T) <= ERROR.get(kind, 1e-2) * scale + 1e-6).all()
    at = int(rng.integers(m))
    alone = product(lib, team, tiles, KINDS[piece.type], n, np.ascontiguousarray(x[at : at + 1]))
    assert np.array_equal(together[at], alone[0])
    assert np.array_equal(together, product(lib, Team(lib, threads), tiles, KINDS[piece.type], n, x))


WIDER = [
    *((T.Q4_0, kind) for kind in (Q4, Q8C, Q8, Q8H)),
    *((T.Q4_1, kind) for kind in (Q8, Q8H)),
    *((kind, target) for kind in (T.Q5_0, T.Q8_0) for target in (Q8, Q8H)),
    (T.Q5_1, Q8H),
]


@pytest.mark.parametrize(("kind", "target"), WIDER)
def test_a_wider_kind_keeps_every_bit(lib: Any, isa: str, team: Team, kind: T, target: int) -> None:
    rng = np.random.default_rng(5)
    piece = rows(kind, 20, 96, rng)
    own, wide = packed(lib, piece, 96), packed(lib, piece, 96, target)
    assert np.array_equal(unpacked(lib, own, KINDS[piece.type], 20, 96), unpacked(lib, wide, target, 20, 96))
    x = rng.standard_normal((3, 96)).astype(np.float32)
    a, b = product(lib, team, own, KINDS[piece.type], 20, x), product(lib, team, wide, target, 20, x)
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(("target", "step"), [(Q8C, 1 / 127), (Q8, 1 / 127), (Q4, 2 / 15)])
@pytest.mark.parametrize("kind", [T.F32, T.BF16, T.F16], ids=lambda t: t.name)
def test_float_weights_are_quantised_to_the_nearest_level(lib: Any, kind: T, target: int, step: float) -> None:
    rng = np.random.default_rng(7)
    piece = rows(kind, 18, 64, rng)
    want = piece.floats().numpy()
    found = unpacked(lib, packed(lib, piece, 64, target), target, 18, 64)
    largest = np.abs(want).reshape(18, 2, 32).max(2).repeat(32, 1)
    assert (np.abs(found - want) <= (0.5 * step + 2e-3) * largest).all(), NAMES[target]


@pytest.mark.parametrize("kind", [T.Q4_0, T.Q5_0, T.Q8_0], ids=lambda t: t.name)
def test_a_centred_type_is_no_larger_than_its_file(lib: Any, kind: T) -> None:
    piece = rows(kind, 16, 64, np.random.default_rng(1))
    assert packed(lib, piece, 64).bytes <= max(piece.data.nbytes, 2 * 544)  # five bits lie in bytes


def test_parts_with_and_without_offsets_share_a_kind_that_holds_both() -> None:
    assert [wider(list(kinds)) for kinds in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 4), (0, 5))] == [1, 3, 2, 3, 4, 6]
