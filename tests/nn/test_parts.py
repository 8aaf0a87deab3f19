"""The small parts: rotary positions, norms, feed-forwards and the packed linear layer."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from idiolect.core.errors import BadInput, NotFound
from idiolect.nn import (
    Batch,
    Contiguous,
    Embedding,
    FeedForward,
    GatedFeedForward,
    Linear,
    Paged,
    RMSNorm,
    Rope,
    pack,
    rotate,
)
from idiolect.nn.linear import can_pack


def test_rotation_keeps_lengths_and_relative_angles() -> None:
    """Scores of rotated vectors depend on the distance of their positions alone."""
    rope = Rope(8, trained=64)
    q, k = torch.randn(1, 1, 8), torch.randn(1, 1, 8)

    def at(x: torch.Tensor, position: int) -> torch.Tensor:
        return rotate(x, rope.angles(Batch.pack([[0]], starts=[position]), torch.float32))

    assert torch.allclose(at(q, 9).norm(), q.norm(), atol=1e-5)
    assert torch.allclose((at(q, 9) * at(k, 4)).sum(), (at(q, 45) * at(k, 40)).sum(), atol=1e-4)
    assert torch.equal(at(q, 0), q)


def test_rotation_of_a_part_leaves_the_rest() -> None:
    rope, x = Rope(4), torch.randn(3, 2, 10)
    angles = rope.angles(Batch.pack([[0] * 3]), torch.float32)
    assert torch.equal(rotate(x, angles)[..., 4:], x[..., 4:])
    assert torch.equal(rotate(x, angles)[..., :4], rotate(x[..., :4], angles))


def test_dynamic_scaling_starts_past_the_trained_length() -> None:
    plain, dynamic = Rope(8, trained=16), Rope(8, scaling={"type": "dynamic", "factor": 2.0}, trained=16)
    short, long = Batch.pack([[0] * 16]), Batch.pack([[0] * 5, [0] * 17])
    assert torch.equal(plain.angles(short, torch.float32).cos, dynamic.angles(short, torch.float32).cos)
    a, b = plain.angles(long, torch.float32).cos, dynamic.angles(long, torch.float32).cos
    assert torch.equal(a[:5], b[:5]) and not torch.equal(a[5:], b[5:])


@pytest.mark.parametrize(
    ("scaling", "word"),
    [({"type": "lineal", "factor": 2}, "linear"), ({"type": "linear"}, "factor"), ({"rope_type": "llama3"}, "factor")],
)
def test_bad_scaling(scaling: dict, word: str) -> None:
    with pytest.raises(BadInput, match=word):
        Rope(8, scaling=scaling)


def test_rms_norm_is_its_formula() -> None:
    norm, x = RMSNorm(6, 1e-3), torch.randn(4, 6)
    nn.init.normal_(norm.weight)
    want = x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), want)


def test_feed_forwards_are_their_formulas() -> None:
    x = torch.randn(3, 4)
    gated, plain = GatedFeedForward(4, 6), FeedForward(4, 6, "gelu_new")
    for module in (gated, plain):
        for parameter in module.parameters():
            nn.init.normal_(parameter)
    gate, up = gated.gate_up.dense().chunk(2)
    with torch.no_grad():
        torch.testing.assert_close(gated(x), (F.silu(x @ gate.T) * (x @ up.T)) @ gated.down.dense().T)
        inner = F.gelu(plain.up(x), approximate="tanh")
        torch.testing.assert_close(plain(x), F.linear(inner, plain.down.dense(), plain.down.bias))
    with pytest.raises(NotFound, match="silu"):
        GatedFeedForward(4, 6, "silo")


def linear(inputs: int, outputs: int, bias: bool, dtype: torch.dtype = torch.float32) -> Linear:
    made = Linear(inputs, outputs, bias)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made.to(dtype)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9), st.booleans(), st.booleans())
def test_packed_linear_equals_plain(inputs: int, outputs: int, rows: int, bias: bool, half: bool) -> None:
    layer = linear(inputs, outputs, bias, torch.bfloat16 if half else torch.float32)
    x = torch.randn(rows, inputs).to(layer.dense().dtype)
    with torch.no_grad():
        want, weight = layer(x), layer.dense().clone()
        pack(layer)
        assert (layer._packed is not None) == can_pack(weight)
        tolerance = {"atol": 0.05 * inputs**0.5, "rtol": 0.02} if half else {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(layer(x), want, **tolerance)
        assert torch.equal(layer.dense(), weight)


def test_packed_linear_gives_its_plain_weight_back() -> None:
    """Saving, copying, casting and training all see the plain weight."""
    for act in (
        lambda m: m.state_dict()["weight"],
        lambda m: copy.deepcopy(m).weight,
        lambda m: m.double().float().weight,
        lambda m: m.train().weight,
    ):
        layer = linear(40, 24, True)
        weight = layer.weight.detach().clone()
        assert torch.equal(act(pack(layer)), weight)
    layer = pack(linear(40, 24, True))
    fresh = torch.randn(24, 40)
    layer.load_state_dict({"weight": fresh, "bias": torch.zeros(24)})
    assert torch.equal(layer.dense(), fresh)


def test_a_packed_layer_still_gives_gradients() -> None:
    layer, x = linear(40, 24, True), torch.randn(3, 40, requires_grad=True)
    want = torch.autograd.grad(layer(x).sum(), x)[0]
    pack(layer)
    torch.testing.assert_close(torch.autograd.grad(layer(x).sum(), x)[0], want)


def test_a_tied_layer_follows_its_embedding() -> None:
    table, head = Embedding(30, 16), Linear(16, 30)
    nn.init.normal_(table.weight)
    head.tie(table)
    model = nn.ModuleDict({"embed": table, "head": head})
    assert set(model.state_dict()) == {"embed.weight"} and len(list(model.parameters())) == 1
    x = torch.randn(2, 16)
    twin = copy.deepcopy(pack(model))
    with torch.no_grad():
        torch.testing.assert_close(head(x), x @ table.weight.T, atol=1e-5, rtol=1e-5)
        twin["embed"].weight.zero_()
        assert not twin["head"](x).any() and head(x).any()


def test_contiguous_gives_what_was_stored() -> None:
    state = Contiguous([Paged(2, 4)], sequences=3, capacity=8)
    k = torch.randn(5, 2, 4)
    state.batch([[0] * 3, [0] * 2], rows=[2, 0])
    state.extend(0, k, -k)
    assert list(state.lengths) == [3, 2] and state.filled == [2, 0, 3]
    keys, values = state.context(0, 0)
    assert torch.equal(keys, k[:3].transpose(0, 1)) and torch.equal(values, -keys)
    padded, _ = state.padded(0)
    assert padded.shape == (2, 2, 3, 4) and torch.equal(padded[1, :, :2], k[3:].transpose(0, 1))
