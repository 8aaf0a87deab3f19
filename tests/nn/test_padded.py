"""Padded entries attend as the segments and branches that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from idiolect.nn import Batch, attend
from idiolect.nn.padded import Shape, entries, padded, shapes_of

HEADS, KV, DIM = 4, 2, 8
SHAPES: list[list[Shape]] = [
    [(0, (3,)), (0, (5,)), (0, (4,))],
    [(5, (2, 3, 4))],
    [(2, (4, 3)), (3, ()), (0, (4,)), (9, (4, 1))],  # a trunk longer than any branch takes several entries
]


def heads(n: int, count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, count, DIM, generator=draw, dtype=torch.float64).requires_grad_()


def paths(shapes: Sequence[Shape]) -> tuple[int, list[tuple[list[int], int]]]:
    """(rows in all, each branch's whole path and how many of its rows are a trunk that was seen already)."""
    found, base = [], 0
    for trunk, branches in shapes:
        own = base + trunk
        for i, size in enumerate(branches or (0,)):
            found.append(([*range(base, base + trunk), *range(own, own + size)], trunk if i else 0))
            own += size
        base = own
    return base, found


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("shapes", SHAPES)
def test_values_and_gradients_are_those_of_each_path(shapes: list[Shape], window: int | None) -> None:
    n, every = paths(shapes)
    q, k, v, g = heads(n, HEADS, 0), heads(n, KV, 1), heads(n, KV, 2), heads(n, HEADS, 3).detach()
    layout = entries(tuple(shapes), window, 9.0)
    assert layout is not None
    out = padded(q, k, v, layout, 0.3)
    wanted = torch.zeros_like(out)
    for rows, seen in every:
        batch = Batch.pack([[0] * len(rows)])
        alone = attend(q[rows], k[rows], v[rows], batch, 0, scale=0.3, window=window)
        wanted[rows[seen:]] = alone[seen:]
    torch.testing.assert_close(out, wanted)
    found = torch.autograd.grad(out, (q, k, v), g)
    for own, other in zip(found, torch.autograd.grad(wanted, (q, k, v), g), strict=True):
        torch.testing.assert_close(own, other)


def test_what_would_be_mostly_padding_is_left_to_others() -> None:
    assert entries(shapes_of([0, 2, 4, 6, 66]), None) is None
    assert entries(shapes_of([0, 1000]), None) is None
    assert entries(shapes_of([0, 50, 110, 150]), None) is not None


def test_a_batch_takes_this_way_only_while_it_learns() -> None:
    batch = Batch.pack([[0] * 5, [0] * 4, [0] * 6])
    q, k, v = heads(15, HEADS, 0), heads(15, KV, 1), heads(15, KV, 2)
    out = attend(q, k, v, batch, 0)
    assert out.grad_fn is not None
    assert "Padded" in out.grad_fn.name()
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v, batch, 0), out.detach())
    assert [e - b for b, e in pairwise(batch.bounds)] == [5, 4, 6]
