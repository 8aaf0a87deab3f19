"""Norms, activations, rotation and products of the GPU step equal the model's own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.nn import Batch, Rope, rotate
from idiolect.nn.feedforward import activations
from tests import gpu

pytestmark = pytest.mark.cuda


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [16, 48, 576])
@pytest.mark.parametrize("layer", [False, True])
def test_norms(width: int, layer: bool) -> None:
    device = gpu.kernels()
    from idiolect.cuda.parts import norm

    x, w, b = random(5, width), random(width, seed=1), random(width, seed=2)
    want = F.layer_norm(x, (width,), w, b, 1e-5) if layer else F.rms_norm(x, (width,), w, 1e-5)
    got = norm(x.to(device), w.to(device), b.to(device) if layer else None, 1e-5)
    torch.testing.assert_close(got.cpu(), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("gated", [False, True])
def test_activations(name: str, gated: bool) -> None:
    device = gpu.kernels()
    from idiolect.cuda.parts import ACTIVATIONS, activate

    x = random(3, 80) * 3
    act = activations.get(name)
    want = act(x[:, :40]) * x[:, 40:] if gated else act(x)
    torch.testing.assert_close(activate(x.to(device), ACTIVATIONS[name], gated).cpu(), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(4, 2, 4), (9, 3, 64), (2, 2, 16)])
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("normed", [False, True])
def test_rotation_and_cache_write(heads: int, kv_heads: int, dim: int, rope: bool, normed: bool) -> None:
    device = gpu.kernels()
    from idiolect.cuda.parts import place

    positions, slots = [3, 0, 17, 5], [9, -1, 2, 30]
    qkv = random(4, heads + 2 * kv_heads, dim)
    weights = random(2, dim, seed=5)
    turns = Rope(dim, 100.0)
    q, k, v = qkv.split((heads, kv_heads, kv_heads), 1)
    if normed:
        q, k = F.rms_norm(q, (dim,), weights[0], 1e-6), F.rms_norm(k, (dim,), weights[1], 1e-6)
    if rope:
        batch = Batch(torch.zeros(4), torch.tensor(positions), torch.tensor([0, 4]), (0, 4))
        angles = turns.angles(batch, torch.float32)
        q, k = rotate(q, angles), rotate(k, angles)
    own = qkv.flatten(1).to(device)
    keys, values = (torch.zeros(32, kv_heads, dim, device=device) for _ in range(2))
    place(
        *(own, keys, values),
        torch.tensor(positions, dtype=torch.int32, device=device),
        torch.tensor(slots, dtype=torch.int32, device=device),
        heads=heads,
        angles=tuple(t.to(device) for t in turns.table(32)) if rope else None,  # type: ignore[arg-type]
        norms=(weights[0].to(device), weights[1].to(device)) if normed else None,
        eps=1e-6,
    )
    torch.testing.assert_close(own.cpu().view(4, -1, dim)[:, :heads], q, atol=1e-5, rtol=1e-5)
    for cache, wanted in ((keys.cpu(), k), (values.cpu(), v)):
        for i, slot in enumerate(slots):
            if slot >= 0:
                torch.testing.assert_close(cache[slot], wanted[i], atol=1e-5, rtol=1e-5)
        assert int((cache.flatten(1).abs().sum(1) > 0).sum()) == 3


FIRSTS = ["plain", "rms", "layer", "act", "gate"]


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(
    rows=st.sampled_from([1, 2, 5, 17, 40]),
    shape=st.sampled_from([(48, 64), (100, 96), (16, 576)]),
    form=st.sampled_from(["float", "q8", "q4"]),
    first=st.sampled_from(FIRSTS),
    add=st.booleans(),
    bias=st.booleans(),
    dtype=st.sampled_from(gpu.DTYPES),
)
def test_products(
    rows: int, shape: tuple[int, int], form: Any, first: str, add: bool, bias: bool, dtype: torch.dtype
) -> None:
    """A product with what comes before and after it, against float32 arithmetic on the matrix that it holds."""
    device = gpu.kernels()
    from idiolect.cuda.matrix import ACT, GATE, LAYER, RMS, First, matrix

    outputs, inputs = shape
    on = lambda t: t.to(device, dtype)  # noqa: E731
    x = on(random(rows, inputs * (2 if first == "gate" else 1)))
    w, b = on(random(outputs, inputs, seed=1) / inputs**0.5), on(random(outputs, seed=2))
    g, s = on(random(inputs, seed=3)), on(random(inputs, seed=4))
    base = on(random(rows, outputs, seed=5))
    how = {
        "plain": First(),
        "rms": First(RMS, 0, g, None, 1e-5),
        "layer": First(LAYER, 0, g, s, 1e-5),
        "act": First(ACT, 3),
        "gate": First(GATE, 1),
    }[first]
    made = matrix(w, form, b if bias else None)
    wide = x.float()
    if first == "rms":
        wide = F.rms_norm(wide, (inputs,), g.float(), 1e-5)
    elif first == "layer":
        wide = F.layer_norm(wide, (inputs,), g.float(), s.float(), 1e-5)
    elif first == "act":
        wide = F.gelu(wide, approximate="tanh")
    elif first == "gate":
        wide = F.silu(wide[:, :inputs]) * wide[:, inputs:]
    want = wide @ made.floats(torch.float32).float().t()
    want = want + (b.float() if bias else 0) + (base.float() if add else 0)
    got = made.product(x, how, base.clone() if add else None)
    bound = 1e-4 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(got.float(), want, atol=bound, rtol=bound)


@pytest.mark.parametrize(("form", "bound"), [("q8", 0.5 / 127), ("q4", 0.5 / 15)])
@pytest.mark.parametrize("dtype", gpu.DTYPES)
def test_quantised_within_half_a_step(form: Any, bound: float, dtype: torch.dtype) -> None:
    """Of a row (8 bits) or of 32 columns (4 bits); besides that, scale and middle are rounded to the model's dtype."""
    device = gpu.kernels()
    from idiolect.cuda.matrix import matrix

    w = random(40, 96).to(device, dtype)
    groups = w.float().view(40, 1, 96) if form == "q8" else w.float().view(40, -1, 32)
    span = groups.abs().amax(-1) if form == "q8" else groups.amax(-1) - groups.amin(-1)
    error = (matrix(w, form).floats(torch.float32) - w.float()).view(groups.shape).abs().amax(-1)
    slack = 1e-4 if dtype == torch.float32 else 5e-3
    assert bool((error <= span * (bound + slack)).all())
    assert matrix(random(4, 40).to(device), form).form == "float"  # no whole groups of 32
