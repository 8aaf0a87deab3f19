"""Which tiles a matrix becomes: the kind of its codes, and where each of its rows goes.

A fused matrix (q, k and v; gate and up) may hold several stored types. Parts that fit one kind share tiles; others
become a product of their own into their columns. Gate and up must lie in alternating tiles, so there the wider kind
holds both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.native.library import BF16, F16, F32, Q4, Q4C, Q8, Q8C, Q8H
from idiolect.nn.stored import Piece, Stored
from idiolect.nn.tape import NotRecordable

NAMES = {
    **dict.fromkeys((Q4C, Q4), "int4"),
    **dict.fromkeys((Q8C, Q8), "int8"),
    **{Q8H: "int6", BF16: "bfloat16", F32: "float32", F16: "float16"},
}
QUANTISE = {"q8": Q8C, "q4": Q4}
KINDS = {  # ggml type number -> the kind that holds it
    2: Q4C,  # Q4_0
    **dict.fromkeys((3, 12), Q4),  # Q4_1, Q4_K
    **dict.fromkeys((6, 8), Q8C),  # Q5_0, Q8_0
    **dict.fromkeys((7, 13), Q8),  # Q5_1, Q5_K
    **{14: Q8H, 30: BF16, 1: F16, 0: F32},  # Q6_K and the floats
}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one piece: `rows[i]` is the stored row that output row i takes, -1 for none."""

    piece: Piece
    rows: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Tiles to be packed: `outputs` valid rows (padded to sixteen) of `inputs` values; `column` is where its outputs
    begin in the whole layer's."""

    kind: int
    outputs: int
    inputs: int
    parts: tuple[Part, ...]
    column: int = 0


def kind_of(piece: Piece, quantise: str | None) -> int:
    kind = KINDS.get(piece.type)
    if kind is None:
        raise NotRecordable(f"weights of ggml type {piece.type} have no kernel")
    return QUANTISE[quantise] if quantise and kind >= BF16 else kind


def wider(kinds: list[int]) -> int:
    """The kind that holds all of these."""
    if len(set(kinds)) == 1:
        return kinds[0]
    if max(kinds) > Q8H:
        return F32
    return Q8 if max(kinds) == Q8C and Q4 in kinds else max(kinds)  # an offset of its own needs room


def rows_of(piece: Piece) -> NDArray[np.int32]:
    order = np.arange(piece.rows) if piece.order is None else piece.order
    return order.astype(np.int32)


def plain_matrices(stored: Stored, quantise: str | None) -> list[Matrix]:
    """One matrix for each run of pieces of one kind."""
    found: list[Matrix] = []
    run: list[Piece] = []
    column = 0
    kinds = [kind_of(p, quantise) for p in stored.pieces]
    for i, piece in enumerate(stored.pieces):
        run.append(piece)
        if i + 1 == len(kinds) or kinds[i + 1] != kinds[i]:
            total = sum(p.rows for p in run)
            parts, at = [], 0
            for p in run:
                rows = np.full(total, -1, np.int32)
                rows[at : at + p.rows] = rows_of(p)
                parts.append(Part(p, rows))
                at += p.rows
            found.append(Matrix(kinds[i], total, stored.inputs, tuple(parts), column))
            column, run = column + total, []
    return found


def gate_order(hidden: int) -> NDArray[np.int64]:
    """Where each row of [gate; up] goes when tiles alternate: positions in the padded 2 * hidden rows."""
    i = np.arange(hidden)
    gate = i // 16 * 32 + i % 16
    return np.concatenate((gate, gate + 16))


def paired_matrix(stored: Stored, quantise: str | None) -> Matrix:
    """Gate and up in alternating tiles of sixteen rows."""
    hidden = stored.outputs // 2
    order, total = gate_order(hidden), -(-hidden // 16) * 32
    parts: list[Part] = []
    at = 0
    for p in stored.pieces:
        rows = np.full(total, -1, np.int32)
        rows[order[at : at + p.rows]] = rows_of(p)
        parts.append(Part(p, rows))
        at += p.rows
    return Matrix(wider([kind_of(p, quantise) for p in stored.pieces]), total, stored.inputs, tuple(parts))


def describe(matrices: list[Matrix]) -> str:
    """The kinds in use, the heaviest first."""
    weight: dict[Any, int] = {}
    for m in matrices:
        weight[NAMES[m.kind]] = weight.get(NAMES[m.kind], 0) + m.outputs * m.inputs
    return "+".join(sorted(weight, key=lambda name: -weight[name]))
