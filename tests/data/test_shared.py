"""Examples that begin alike give the losses and gradients of separate ones, from fewer rows."""

from __future__ import annotations

import pytest
import torch

from idiolect.data.batch import TrainBatch
from idiolect.data.shared import share
from idiolect.nn import Batch


def batch(rows: list[list[int]], silent: list[int]) -> TrainBatch:
    """The first `silent[i]` rows of example i count nothing."""
    targets = torch.cat([torch.tensor([*r[1:], 0]) for r in rows])
    weights = torch.cat([torch.tensor([0.0] * s + [1.0] * (len(r) - 1 - s) + [0.0]) for r, s in zip(rows, silent)])
    return TrainBatch(Batch.pack(rows), targets, weights)


def paths(found: TrainBatch) -> list[list[tuple[int, int, int, float]]]:
    """(id, position, target where it counts, weight) of every row on the way to each branch's end."""
    b = found.batch
    assert b.tree is not None
    rows = list(zip(b.ids.tolist(), b.pos.tolist(), found.targets.tolist(), found.weights.tolist(), strict=True))
    rows = [(i, p, t if w else -1, w) for i, p, t, w in rows]
    every, base = [], 0
    for trunk, branches in b.tree.shapes:
        own = base + trunk
        for size in branches:
            every.append(rows[base : base + trunk] + rows[own : own + size])
            own += size
        base = own
    assert base == len(b) == b.bounds[-1] == int(b.cu[-1])
    return every


@pytest.mark.parametrize(
    ("examples", "silent", "shapes"),
    [
        # one beginning for all; what counts is never shared, however alike it is
        ([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 3, 7]], [2, 3, 2], [(2, (3, 3, 2))]),
        # two pairs: what a pair shares is worth more than what all of them share
        (
            [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 8, 9, 9, 5], [1, 8, 9, 9, 6]],
            [4, 4, 4, 4],
            [(4, (1, 1)), (4, (1, 1))],
        ),
        # the same twice: each keeps a row of its own
        ([[1, 2, 3], [1, 2, 3]], [2, 2], [(2, (1, 1))]),
        # one that begins in another way stands alone
        ([[1, 2, 3, 4], [1, 2, 3, 5], [9, 9]], [3, 3, 1], [(3, (1, 1)), (0, (2,))]),
    ],
)
def test_a_path_is_its_example(
    examples: list[list[int]], silent: list[int], shapes: list[tuple[int, tuple[int, ...]]]
) -> None:
    before = batch(examples, silent)
    found = share(before)
    assert found.batch.tree is not None
    assert found.batch.tree.shapes == shapes
    assert found.weights.sum() == before.weights.sum()
    for path, example, quiet in zip(paths(found), examples, silent, strict=True):
        wanted = [
            (token, i, example[i + 1] if quiet <= i < len(example) - 1 else -1, float(quiet <= i < len(example) - 1))
            for i, token in enumerate(example)
        ]
        assert path == wanted


def test_little_in_common_is_left_alone() -> None:
    for before in (
        batch([[1, *range(10, 30)], [1, *range(40, 60)]], [15, 15]),
        batch([[1, 2, 3, 4]], [2]),
        batch([[1, 2, 3, 4], [1, 2, 3, 5]], [0, 3]),  # the first counts from its first row
    ):
        assert share(before) is before


def test_other_positions_are_not_shared() -> None:
    before = batch([[1, 2, 3, 4], [1, 2, 3, 5]], [3, 3])
    before.batch.pos[4:] += 1
    assert share(before) is before
