"""Every quantised format: its numbers, its error, and what a layer does with it."""

from __future__ import annotations

import copy
import math
import weakref
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from idiolect import weights
from idiolect.core.errors import BadInput, NotFound
from idiolect.core.plan import memory
from idiolect.nn import Embedding, Linear
from idiolect.weights import nf4

CPU = torch.device("cpu")
ALL = ["fp8", "int8", "nf4", "q4_0", "q4_1", "q8_0", "ternary"]
EPS = 2.0**-10  # of the float16 scales, twice; weights are such that these are normal numbers


def normal(*shape: int, seed: int = 0, std: float = 0.05) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * std


def blocks(x: Tensor, size: int) -> Tensor:
    return nf4.padded(x.flatten(), size)


def bound(fmt: str, w: Tensor) -> Tensor:
    """The largest error that each weight may have, by the format's definition."""
    if fmt == "int8":
        return (w.abs().amax(1, keepdim=True) / 254).expand_as(w) * (1 + 1e-5)
    if fmt == "fp8":  # half of the last of three bits, or of the smallest step
        step = w.abs().amax(1, keepdim=True) / 448
        return torch.maximum(w.abs() / 16, step * 2.0**-10) * (1 + 1e-5)
    if fmt == "ternary":
        scale = w.abs().mean(1, keepdim=True)
        return torch.maximum(scale / 2, w.abs() - scale) * (1 + 1e-5)
    if fmt == "nf4":  # half the widest gap, without double quantisation
        gap = max(b - a for a, b in zip(nf4.LEVELS, nf4.LEVELS[1:], strict=False)) / 2 * (1 + 1e-5)
        most = blocks(w, 64).abs().amax(1, keepdim=True).expand(-1, 64) * gap
        return most.flatten()[: w.numel()].view_as(w)
    b = blocks(w, 32)
    high = b.abs().amax(1, keepdim=True)
    if fmt == "q8_0":
        most = high * (0.5 / 127 + EPS)
    elif fmt == "q4_0":  # codes reach from -8 to 7: the end that has no -8 may be cut by a whole step
        most = high * (1 / 8 + EPS)
    else:
        most = (b.amax(1, keepdim=True) - b.amin(1, keepdim=True)) / 15 * 0.5 + high * 3 * EPS
    return most.expand_as(b).reshape(w.shape)


def test_the_code_book_is_the_published_one() -> None:
    """Appendix E: quantiles of N(0, 1) at evenly spaced probabilities, eight below and nine above, sharing 0."""
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    offset = (1 - 1 / 32 + 1 - 1 / 30) / 2
    upper = [quantile(offset + (0.5 - offset) * i / 8) for i in range(8)]
    lower = [-quantile(offset + (0.5 - offset) * i / 7) for i in range(7)]
    made = sorted(x / quantile(offset) for x in (*upper, *lower, 0.0))
    assert made == pytest.approx(nf4.LEVELS, abs=2e-6)


@pytest.mark.parametrize("fmt", ALL)
@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 150), st.integers(0, 9), st.floats(0.02, 1e3)
)  # where float16 scales are normal numbers
def test_round_trip_error(fmt: str, outputs: int, inputs: int, seed: int, std: float) -> None:
    if fmt.startswith("q"):
        inputs = -(-inputs // 32) * 32
    w = normal(outputs, inputs, seed=seed, std=std)
    options = {"double": False} if fmt == "nf4" else {}
    error = (weights.quantise(w, fmt, **options).dequantise() - w).abs()
    assert (error <= bound(fmt, w) + 1e-7).all()


def test_bits_a_weight() -> None:
    w = normal(64, 4096)
    found = {fmt: weights.quantise(w, fmt).bits for fmt in ("fp8", "int8", "nf4", "ternary")}
    assert found == pytest.approx({fmt: memory.BITS[fmt] for fmt in found}, abs=0.02), "as the planner counts them"
    assert set(torch.unique(weights.quantise(w, "ternary").floats()[0]).sign().tolist()) == {-1.0, 0.0, 1.0}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(0, 9))
def test_double_quantisation_of_the_constants(outputs: int, inputs: int, seed: int) -> None:
    """Eight bits for what is left after the mean: off by no more than half the widest gap of the map."""
    w = normal(outputs, inputs, seed=seed)
    once, twice = weights.quantise(w, "nf4", double=False), weights.quantise(w, "nf4", double=True)
    assert torch.equal(once.codes, twice.codes)
    book = nf4.dynamic_map(CPU)
    assert len(book) == 256 and book[0] > -1 and book[-1] == 1 and bool((book.diff() > 0).all())
    rest = blocks(once.constants() - once.constants().mean(), 256)
    most = rest.abs().amax(1, keepdim=True) * book.diff().max() / 2 + 1e-7
    assert (blocks(once.constants() - twice.constants(), 256).abs() <= most).all()
    if w.numel() >= 64 * 256:
        assert twice.bits < 4.2 and once.bits == pytest.approx(4.5, abs=0.02)


@pytest.mark.parametrize("fmt", ALL)
def test_matmul_is_the_product_with_the_floats(fmt: str) -> None:
    q, x = weights.quantise(normal(48, 64), fmt), normal(5, 3, 64, seed=1, std=1.0).requires_grad_()
    torch.testing.assert_close(q.matmul(x), x @ q.dequantise().T)
    grad = normal(5, 3, 48, seed=2, std=1.0)
    (got,) = torch.autograd.grad(q.matmul(x), x, grad)
    torch.testing.assert_close(got, grad @ q.dequantise())
    half = q.matmul(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, x.bfloat16() @ q.dequantise(torch.bfloat16).T)
    assert not list(q.parameters())
    other = weights.quantise(normal(64, 48, seed=3), "int8")  # the floats of one product may lie where another's were
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        kept = q.matmul(x.to(dtype))
        other.matmul(torch.ones(2, 48, dtype=dtype))
        assert torch.equal(kept, q.matmul(x.to(dtype)))
        assert torch.equal(q.transient(dtype), q.dequantise(dtype))
    with torch.inference_mode():
        q.matmul(x.half())
    assert q.matmul(x.half()).requires_grad


@pytest.mark.parametrize("fmt", ALL)
@pytest.mark.parametrize("inputs", [64, 96])
def test_rows_are_rows(fmt: str, inputs: int) -> None:
    q, ids = weights.quantise(normal(20, inputs), fmt), torch.tensor([[3, 0], [19, 3]])
    assert torch.equal(q.rows(ids), q.dequantise()[ids])


@pytest.mark.parametrize("fmt", ["q8_0", "q4_0", "q4_1"])
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_block_types_are_ggml_s_bit_for_bit(fmt: str, outputs: int, width: int, seed: int) -> None:
    w = normal(outputs, width * 32, seed=seed)
    w[0, : 1 + seed % 32] = 0
    q, kind = weights.quantise(w, fmt), GGMLQuantizationType[fmt.upper()]
    data = quants.quantize(w.numpy(), kind)
    assert (q.data.numpy() == data).all()
    assert torch.equal(q.dequantise(), torch.from_numpy(quants.dequantize(data, kind)))
    assert torch.equal(q.as_stored().floats(), q.dequantise())


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(64, 128), (5, 96), (300, 64)])
@pytest.mark.parametrize("double", [True, False])
def test_nf4_is_bitsandbytes_s(shape: tuple[int, int], double: bool) -> None:
    bnb = pytest.importorskip("bitsandbytes.functional")
    w = normal(*shape)
    packed, state = bnb.quantize_4bit(w, quant_type="nf4", blocksize=64, compress_statistics=double)
    q = weights.quantise(w, "nf4", double=double)
    assert torch.equal(packed.flatten(), q.codes[: packed.numel()]) and torch.equal(state.absmax, q.absmax)
    if double:
        assert torch.equal(state.state2.code, nf4.dynamic_map(CPU)) and torch.equal(state.offset, q.offset)
    torch.testing.assert_close(bnb.dequantize_4bit(packed, state), q.dequantise(), atol=1e-7, rtol=1e-6)


def layer(fmt: str, bias: bool = True) -> Linear:
    made = Linear(64, 40, bias)
    nn.init.normal_(made.weight)  # type: ignore[arg-type]
    if made.bias is not None:
        nn.init.normal_(made.bias)
    made.hold(weights.quantise(made.dense(), fmt))
    return made


@pytest.mark.parametrize("fmt", ALL)
def test_a_layer_computes_moves_copies_and_saves_with_it(fmt: str) -> None:
    made, x = layer(fmt), normal(3, 64, seed=4, std=1.0)
    with torch.no_grad():
        want = made(x)
        torch.testing.assert_close(want, x @ made.dense().T + made.bias)
        twin = copy.deepcopy(made)
        assert torch.equal(twin(x), want) and isinstance(twin.stored, weights.QuantTensor)
        fresh = layer(fmt)
        assert not torch.allclose(fresh(x), want)
        fresh.load_state_dict(made.state_dict())
        assert torch.equal(fresh(x), want)
        cast = copy.deepcopy(made).bfloat16()
        assert cast(x.bfloat16()).dtype == torch.bfloat16 == cast.dense().dtype
        assert torch.equal(cast.stored.floats(), made.dense())  # casting did not round what is stored
        assert cast.float().dense().dtype == torch.float32
    assert [n for n, _ in made.named_parameters()] == ["bias"]
    assert made.to("meta").stored.floats().is_meta  # type: ignore[union-attr]


def test_gradients_pass_and_checkpointing_gives_the_same() -> None:
    first, second = layer("nf4"), Linear(40, 8)
    nn.init.normal_(second.weight)  # type: ignore[arg-type]
    x = normal(6, 64, seed=5, std=1.0).requires_grad_()

    def both(x: Tensor) -> Tensor:
        return second(first(x).tanh()).square().sum()

    plain = torch.autograd.grad(both(x), [x, second.weight, first.bias])
    again = torch.autograd.grad(checkpoint(both, x, use_reentrant=False), [x, second.weight, first.bias])
    dense = copy.deepcopy(first)
    dense.weight, dense.stored = nn.Parameter(first.dense()), None
    want = torch.autograd.grad(second(dense(x).tanh()).square().sum(), [x, second.weight, dense.bias])
    for a, b, c in zip(plain, again, want, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)


@pytest.mark.parametrize("stored", [False, True])
def test_neither_floats_nor_input_wait_for_the_backward_pass(stored: bool) -> None:
    made, kept = layer("q8_0" if stored else "nf4", bias=False), []
    if stored:
        rows = made.stored.as_stored()  # type: ignore[union-attr]
        made = Linear(64, 40)
        made.hold(rows)  # type: ignore[arg-type]

    def note(t: Tensor) -> Tensor:
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        x = normal(3, 64).requires_grad_() + 1  # whose own gradient needs nothing
        seen, y = weakref.ref(x), made(x)
        del x
    assert not kept and seen() is None
    y.sum().backward()


def test_a_tied_head_uses_the_quantised_table() -> None:
    table, head = Embedding(30, 64), Linear(64, 30)
    nn.init.normal_(table.weight)
    head.tie(table)
    table.hold(weights.quantise(table.dense(), "q8_0"))
    x, ids = normal(2, 64, std=1.0), torch.tensor([7, 0, 29])
    torch.testing.assert_close(head(x), x @ table.dense().T)
    assert torch.equal(table(ids), table.dense()[ids])


@pytest.mark.parametrize(
    ("matrix", "fmt", "options", "error", "word"),
    [
        (torch.ones(2, 64), "nf5", {}, NotFound, "nf4"),
        (torch.ones(2, 64), "nf4", {"blok": 64}, BadInput, "block"),
        (torch.ones(2, 64), "nf4", {"block": 6}, BadInput, "multiple of 4"),
        (torch.ones(2, 64), "int8", {"block": 64}, BadInput, "int8 has none"),
        (torch.ones(2, 33), "q4_0", {}, BadInput, "rows of 33 values"),
        (torch.full((2, 64), math.nan), "nf4", {}, BadInput, "NaN"),
        (torch.ones(64), "nf4", {}, BadInput, "no matrix"),
        (torch.ones(0, 64), "int8", {}, BadInput, "no matrix"),
    ],
)
def test_what_cannot_be_quantised_says_why(
    matrix: Tensor, fmt: str, options: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        weights.quantise(matrix, fmt, **options)
