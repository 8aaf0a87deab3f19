"""What is fused for training equals the layers that it stands for, in bfloat16, outputs and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from idiolect.models.families import family_of
from idiolect.nn import FeedForward
from idiolect.train.fused import fused
from tests import gpu
from tests.train import tiny

pytestmark = pytest.mark.cuda


def off(got: Tensor, want: Tensor) -> float:
    return float((got.double().cpu() - want.double().cpu()).norm() / (want.double().norm().cpu() + 1e-12))


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(rows=st.integers(1, 400), width=st.sampled_from([8, 24, 256, 700]), seed=st.integers(0, 99))
def test_joined_columns_and_their_sum(rows: int, width: int, seed: int) -> None:
    device = gpu.kernels()
    from idiolect.cuda.join import join

    make = torch.Generator().manual_seed(seed)
    parts = [torch.randn(rows, width, generator=make) for _ in range(3)]
    got, total = join(*(p.to(device) for p in parts))
    assert torch.equal(got.cpu(), torch.cat(parts, 1))
    assert off(total, torch.cat(parts, 1).double().sum(0)) < 1e-5


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(rows=st.integers(1, 300), dim=st.sampled_from([16, 32, 20]), hidden=st.sampled_from([64, 136, 36]))
def test_feedforward_and_its_gradients(rows: int, dim: int, hidden: int) -> None:
    """Also for sizes that the product does not know, which fall back to two steps."""
    device = gpu.cuda()
    make = torch.Generator().manual_seed(rows)
    layer = FeedForward(dim, hidden, "gelu_new")
    for p in layer.parameters():
        nn.init.normal_(p, 0.0, 0.3, generator=make)
    x, g = (torch.randn(rows, dim, generator=make).bfloat16() for _ in range(2))
    layer.to(device, torch.bfloat16)
    exact = FeedForward(dim, hidden, "gelu_new").double()
    exact.load_state_dict({k: v.double().cpu() for k, v in layer.state_dict().items()})
    want = x.double().requires_grad_()
    out = exact(want)
    out.backward(g.double())
    from idiolect.cuda.fused import feedforward

    layer.fused = feedforward
    own = x.to(device).requires_grad_()
    got = layer(own)
    got.backward(g.to(device))
    assert off(got.detach(), out.detach()) < 1e-2
    assert own.grad is not None and want.grad is not None and off(own.grad, want.grad) < 1e-2
    for (name, p), q in zip(layer.named_parameters(), exact.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        assert off(p.grad, q.grad) < 2e-2, name


def test_a_gpt_with_and_without() -> None:
    device = gpu.cuda()
    raw: dict[str, Any] = {**tiny.GPT2, "n_embd": 64}
    model = family_of(raw)(raw)
    model.initialise(0.1, torch.Generator().manual_seed(0))
    model.to(device, torch.bfloat16)
    batch = tiny.pack(tiny.examples(6)).to(device)
    g = torch.randn(len(batch.batch), 64, generator=torch.Generator().manual_seed(1)).to(device)
    found = []
    for on in (False, True):
        model.zero_grad()
        with fused(model, on):
            assert [m.fused is not None for m in model.modules() if hasattr(m, "fused")] == [on] * 4
            hidden = model.hidden(batch.batch)
            (hidden.float() * g).sum().backward()
        found.append([hidden.detach(), *(p.grad for p in model.parameters())])
    for (want, got), name in zip(zip(*found, strict=True), ["out", *dict(model.named_parameters())], strict=True):
        assert off(got, want) < 2e-2, name


def test_only_layers_that_learn_whole_are_fused() -> None:
    device = gpu.cuda()
    model = tiny.model("gpt2").to(device, torch.bfloat16)
    block = model.layers[0]  # type: ignore[index]
    block.mlp.up.bias.requires_grad_(False)
    block.attention.qkv.delta = lambda x, layer: layer.plain(x)
    with fused(model):
        assert block.mlp.fused is None and block.attention.fused is None
        assert model.layers[1].mlp.fused is not None  # type: ignore[index]
    assert model.layers[1].mlp.fused is None  # type: ignore[index]
