"""Branches of one trunk attend as if each followed the trunk alone."""

from __future__ import annotations

import pytest
import torch

from idiolect.nn import Batch, attend
from idiolect.nn.tree import Stem, Tree

HEADS, KV, DIM = 4, 2, 8


def heads(n: int, count: int, seed: int) -> torch.Tensor:
    return torch.randn(n, count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("front", [0, 3])
def test_a_tree_equals_its_paths(window: int | None, softcap: float | None, front: int) -> None:
    shapes = [(5, (2, 1, 3)), (1, ()), (3, (1,)), (0, (2, 2)) if front else (2, (0, 2))]
    n = sum(trunk + sum(branches) for trunk, branches in shapes)
    q, k, v = heads(n, HEADS, 0), heads(n, KV, 1), heads(n, KV, 2)
    stem_k, stem_v = heads(front, KV, 3), heads(front, KV, 4)
    stem = Stem((stem_k.transpose(0, 1),), (stem_v.transpose(0, 1),)) if front else None
    bounds = [0]
    for trunk, branches in shapes:
        bounds.append(bounds[-1] + trunk + sum(branches))
    batch = Batch(torch.zeros(n), torch.zeros(n), torch.tensor(bounds), tuple(bounds), tree=Tree(shapes, stem))
    out = attend(q, k, v, batch, 0, window=window, softcap=softcap)
    for (trunk, branches), base in zip(shapes, bounds, strict=False):
        begin = base + trunk
        for size in branches:
            path = [*range(base, base + trunk), *range(begin, begin + size)]
            begin += size
            if not path:
                continue
            keys, values = torch.cat((stem_k, k[path])), torch.cat((stem_v, v[path]))
            queries = torch.cat((torch.zeros(front, HEADS, DIM, dtype=torch.float64), q[path]))
            alone = Batch.pack([[0] * len(queries)])
            want = attend(queries, keys, values, alone, 0, window=window, softcap=softcap, backend="reference")[front:]
            assert torch.allclose(out[path], want, atol=1e-6), (trunk, size)
