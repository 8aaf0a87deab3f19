"""The paged kernels equal the reference, whatever the lengths, heads, pages and masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.nn import Batch, Contiguous, Paged, attend
from tests import gpu

pytestmark = pytest.mark.cuda

shapes = st.sampled_from([(1, 1, 16), (4, 2, 4), (9, 3, 64), (8, 1, 24)])  # H, Hkv, Dh
lengths = st.lists(st.integers(1, 200 if torch.cuda.is_available() else 70), min_size=1, max_size=5)


class Memory:
    """Random keys and values of some segments, in pages at random places, and the same ones in a row."""

    def __init__(self, totals: list[int], kv_heads: int, dim: int, page: int, dtype: torch.dtype, seed: int) -> None:
        self.make = torch.Generator().manual_seed(seed)
        self.page, self.device, self.dtype = page, gpu.kernels(), dtype
        counts = [-(-n // page) for n in totals]
        places = torch.randperm(sum(counts) + 3, generator=self.make).tolist()
        self.k, self.v = (torch.full((len(places) * page, kv_heads, dim), float("nan")) for _ in range(2))
        self.rows, self.starts, self.table = [], [], []
        for total, count in zip(totals, counts, strict=True):
            self.starts.append(len(self.table))
            own = [places.pop() for _ in range(count)]
            self.table += own
            keys, values = (torch.randn(total, kv_heads, dim, generator=self.make) for _ in range(2))
            for i in range(total):
                self.k[own[i // page] * page + i % page] = keys[i]
                self.v[own[i // page] * page + i % page] = values[i]
            self.rows.append((keys, values))

    def on(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self.device)

    def to(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)


def reference(q: Tensor, memory: Memory, counts: list[int], window: int | None, softcap: float | None) -> Tensor:
    """In float32 on the CPU, with the operands rounded as the kernel gets them."""
    kv_heads, dim = memory.k.shape[1:]
    totals = [len(keys) for keys, _ in memory.rows]
    state = Contiguous([Paged(kv_heads, dim)], sequences=len(totals), capacity=max(totals))
    before = [n - c for n, c in zip(totals, counts, strict=True)]
    some = [(i, n) for i, n in enumerate(before) if n]
    round_ = lambda x: x.to(memory.dtype).float()  # noqa: E731
    for i, n in some:
        for side, at in ((state.keys, 0), (state.values, 1)):
            side[0][i, :, :n] = round_(memory.rows[i][at][:n].transpose(0, 1))
        state.filled[i] = n
    k, v = (torch.cat([round_(pair[at][n - c :]) for pair, n, c in zip(memory.rows, totals, counts)]) for at in (0, 1))
    batch = state.batch([[0] * c for c in counts])
    return attend(round_(q), k, v, batch, 0, window=window, softcap=softcap, backend="reference")


def close(got: Tensor, want: Tensor, dtype: torch.dtype) -> None:
    bound = 2e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(got.float().cpu().view(want.shape), want, atol=bound, rtol=bound)


CASES: Any = {
    "shape": shapes,
    "totals": lengths,
    "page": st.sampled_from([4, 16]),
    "mask": st.sampled_from([(None, None), (30, None), (None, 5.0)]),
    "dtype": st.sampled_from(gpu.DTYPES),
    "seed": st.integers(0, 9),
}


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(**CASES, parts=st.sampled_from([1, 4]))
def test_decode_equals_reference(
    shape: Any, totals: list[int], page: int, mask: Any, dtype: torch.dtype, seed: int, parts: int
) -> None:
    gpu.kernels()
    from idiolect.cuda.attention import decode

    (heads, kv_heads, dim), (window, softcap) = shape, mask
    memory = Memory(totals, kv_heads, dim, page, dtype, seed)
    q = torch.randn(len(totals), heads, dim, generator=memory.make)
    longer = torch.cat((q.flatten(1), torch.full((len(totals), 2 * kv_heads * dim), float("nan"))), 1)
    got = decode(
        *(memory.to(longer), memory.to(memory.k), memory.to(memory.v)),
        *(memory.on(memory.starts), memory.on(memory.table), memory.on(totals)),
        heads=heads,
        page=page,
        scale=dim**-0.5,
        parts=parts,
        window=window,
        softcap=softcap,
    )
    close(got, reference(q, memory, [1] * len(totals), window, softcap), dtype)


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(**CASES, cut=st.floats(0, 1))
def test_prompts_equal_reference(
    shape: Any, totals: list[int], page: int, mask: Any, dtype: torch.dtype, seed: int, cut: float
) -> None:
    """Whole prompts, chunks of prompts, and mixtures with segments that decode."""
    gpu.kernels()
    from idiolect.cuda.attention import blocks_of, prompt

    (heads, kv_heads, dim), (window, softcap) = shape, mask
    memory = Memory(totals, kv_heads, dim, page, dtype, seed)
    counts = [max(1, round(n * cut)) if i % 2 == 0 else 1 for i, n in enumerate(totals)]
    q = torch.randn(sum(counts), heads, dim, generator=memory.make)
    blocks = [*blocks_of(counts, [n - c for n, c in zip(totals, counts, strict=True)]), 0, 0, 0, 0]
    got = prompt(
        *(memory.to(q.flatten(1)), memory.to(memory.k), memory.to(memory.v)),
        memory.on(blocks).view(-1, 4),
        *(memory.on(memory.starts), memory.on(memory.table)),
        heads=heads,
        page=page,
        scale=dim**-0.5,
        window=window,
        softcap=softcap,
    )
    close(got, reference(q, memory, counts, window, softcap), dtype)


def test_an_empty_segment_gives_zeros() -> None:
    """Rows that only pad a graph's size."""
    gpu.kernels()
    from idiolect.cuda.attention import decode

    memory = Memory([20, 1], 2, 16, 16, torch.float32, 0)
    for parts in (1, 4):
        out = decode(
            torch.ones(2, 64, device=memory.device),
            *(memory.to(memory.k), memory.to(memory.v)),
            *(memory.on(memory.starts), memory.on(memory.table), memory.on([20, 0])),
            heads=4,
            page=16,
            scale=0.25,
            parts=parts,
        )
        assert bool((out[1] == 0).all()) and bool(out[0].isfinite().all())


def test_blocks_cover_every_row_once() -> None:
    from collections import Counter

    gpu.kernels()
    from idiolect.cuda.attention import blocks_of

    flat = blocks_of([1, 130, 64], [7, 0, 100], 64)
    rows = Counter(r for at in range(0, len(flat), 4) for r in range(flat[at + 1], flat[at + 1] + flat[at + 2]))
    assert rows == Counter(range(195))


def test_a_batch_through_its_state_is_the_module_path() -> None:
    """`attend` hands a step over to the state's own kernels."""
    device = gpu.kernels()
    from idiolect.engine.cuda_kv import CudaKV, CudaState
    from idiolect.engine.pages import Lease

    cache = CudaKV([Paged(2, 16)], 8, 4, dtype=torch.float32, device=device)
    lease = Lease([5, 1, 6], contiguous=False)
    make = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(9, h, 16, generator=make) for h in (4, 2, 2))
    want = attend(q, k, v, Batch.pack([[0] * 9]), 0, backend="reference")
    with torch.inference_mode():
        for begin, end in ((0, 5), (5, 6), (6, 9)):
            batch = Batch.pack(
                [[0] * (end - begin)],
                starts=[begin],
                state=CudaState(cache, [lease], [begin], [end - begin]),
                device=device,
            )
            got = attend(*(t[begin:end].to(device) for t in (q, k, v)), batch, 0)
            torch.testing.assert_close(got.cpu(), want[begin:end], atol=2e-5, rtol=2e-5)
