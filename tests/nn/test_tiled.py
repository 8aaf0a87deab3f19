"""Tiles against the reference: any number of queries, keys and heads, with and without a past."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.nn.attend import visible
from idiolect.nn.tiled import tiled, worthwhile


def exact(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    groups = q.shape[1] // keys.shape[0]
    k, v = (x.double().repeat_interleave(groups, 0) for x in (keys, values))
    scores = q.double().transpose(0, 1) @ k.transpose(1, 2) * scale
    hidden = ~visible(q.shape[0], keys.shape[1], True, None)
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(0, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2)])
def test_tiles_equal_the_definition(dtype: torch.dtype, tolerance: float) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(64, 300), st.integers(0, 200), st.sampled_from([(9, 3), (4, 4), (8, 1)]), st.integers(0, 99))
    def check(n: int, past: int, heads: tuple[int, int], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        total = n + past

        def random(*shape: int) -> torch.Tensor:
            return (torch.randn(*shape, generator=generator) * 1.5).to(dtype)

        q = random(n, heads[0], 16)
        keys, values = (random(total, heads[1], 16).transpose(0, 1) for _ in range(2))  # as the pages give them
        if not worthwhile(q, max(total, 256)):
            pytest.skip("this machine has no oneDNN path")
        with torch.inference_mode():
            out = tiled(q, keys, values, 0.25)
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), exact(q, keys, values, 0.25), atol=tolerance, rtol=tolerance)

    check()
