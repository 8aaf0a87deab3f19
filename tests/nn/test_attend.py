"""Every attention back end equals the reference, whatever the shape of the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.core.errors import ContextOverflow, NotFound
from idiolect.nn import Batch, Contiguous, Paged, attend
from idiolect.nn.attend import backends, visible

OTHERS = [name for name in backends if name != "reference"]

shapes = st.tuples(
    st.sampled_from([(1, 1), (2, 2), (4, 2), (9, 3), (8, 1)]),  # H, Hkv
    st.sampled_from([2, 8, 16]),  # Dh
    st.lists(st.integers(1, 12), min_size=1, max_size=6),  # new tokens of each segment
)
masks = st.tuples(st.booleans(), st.one_of(st.none(), st.integers(1, 15)), st.one_of(st.none(), st.just(5.0)))


def tensors(tokens: int, heads: int, kv_heads: int, dim: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(tokens, h, dim, generator=make) for h in (heads, kv_heads, kv_heads))  # type: ignore


def packed(lengths: list[int], state: Contiguous | None = None) -> Batch:
    segments = [[0] * n for n in lengths]
    return Batch.pack(segments) if state is None else state.batch(segments)


@pytest.mark.parametrize("backend", OTHERS)
@settings(max_examples=60, deadline=None)
@given(shape=shapes, mask=masks)
def test_stateless_equals_reference(backend: str, shape: tuple, mask: tuple) -> None:
    (heads, kv_heads), dim, lengths = shape
    causal, window, softcap = mask
    q, k, v = tensors(sum(lengths), heads, kv_heads, dim, 0)
    batch = packed(lengths)
    options = {"causal": causal, "window": window, "softcap": softcap}
    want = attend(q, k, v, batch, 0, **options, backend="reference")
    torch.testing.assert_close(attend(q, k, v, batch, 0, **options, backend=backend), want, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", OTHERS)
@settings(max_examples=60, deadline=None)
@given(shape=shapes, mask=masks, before=st.lists(st.integers(1, 20), min_size=6, max_size=6), decode=st.booleans())
def test_cached_equals_reference(backend: str, shape: tuple, mask: tuple, before: list[int], decode: bool) -> None:
    """Chunked prefill, decode and mixtures of both, over a cache that is already filled."""
    (heads, kv_heads), dim, lengths = shape
    _, window, softcap = mask
    lengths = [1] * len(lengths) if decode else lengths
    found = {}
    for name in ("reference", backend):
        state = Contiguous([Paged(kv_heads, dim)], sequences=len(lengths), capacity=64)
        for part, sizes in enumerate([before[: len(lengths)], lengths]):
            q, k, v = tensors(sum(sizes), heads, kv_heads, dim, part)
            found[name] = attend(q, k, v, packed(sizes, state), 0, window=window, softcap=softcap, backend=name)
    torch.testing.assert_close(found[backend], found["reference"], atol=2e-6, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, window=st.one_of(st.none(), st.integers(1, 15)), cut=st.integers(1, 11))
def test_cached_equals_uncached(shape: tuple, window: int | None, cut: int) -> None:
    """Any cut of every sequence into two chunks gives the same outputs as one forward."""
    (heads, kv_heads), dim, lengths = shape
    lengths = [n + cut for n in lengths]
    q, k, v = tensors(sum(lengths), heads, kv_heads, dim, 1)
    want = attend(q, k, v, packed(lengths), 0, window=window)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    first = [row for s in starts for row in range(s, s + cut)]
    rest = [row for row in range(len(q)) if row not in first]
    state = Contiguous([Paged(kv_heads, dim)], sequences=len(lengths), capacity=64)
    for rows, sizes in ((first, [cut] * len(lengths)), (rest, [n - cut for n in lengths])):
        got = attend(q[rows], k[rows], v[rows], packed(sizes, state), 0, window=window)
        torch.testing.assert_close(got, want[rows], atol=2e-6, rtol=1e-5)


def test_reference_by_hand() -> None:
    """Two keys, one of them masked or not: the softmax is known."""
    q, v = torch.ones(2, 1, 2), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    k = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])
    out = attend(q, k, v, packed([2]), 0, scale=1.0, backend="reference")
    odds = torch.tensor([1.0, torch.e]) / (1 + torch.e)
    torch.testing.assert_close(out[:, 0], torch.stack([torch.tensor([1.0, 0.0]), odds]))


def test_visible() -> None:
    assert visible(2, 4, True, None).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert visible(2, 4, True, 2).int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert visible(1, 3, False, None).int().tolist() == [[1, 1, 1]]


def test_unknown_backend_names_the_nearest() -> None:
    q = torch.zeros(1, 1, 2)
    with pytest.raises(NotFound, match="sdpa"):
        attend(q, q, q, packed([1]), 0, backend="sdp")


def test_full_cache_is_refused() -> None:
    state = Contiguous([Paged(1, 2)], capacity=4)
    state.batch([[0, 0, 0]])
    with pytest.raises(ContextOverflow, match="5 tokens"):
        state.batch([[0, 0]])
    assert state.filled == [3]
