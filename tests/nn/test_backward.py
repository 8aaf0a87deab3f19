"""The backward passes written by hand are those of the plain layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from idiolect.nn import GatedFeedForward, RMSNorm
from idiolect.nn.backward import RMSNormed, SwiGLU
from idiolect.nn.frozen import frozen, product


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: RMSNormed.apply(x, w, 1e-5), (x, w))
    assert torch.autograd.gradcheck(SwiGLU.apply, (x,))
    assert torch.autograd.gradcheck(lambda x: frozen(x, lambda: torch.eye(8).double()[:3]), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learns", [True, False])
def test_a_norm_that_learns_or_not(dtype: torch.dtype, learns: bool) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(64).to(dtype)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.weight.requires_grad_(learns)
    x = torch.randn(7, 64).to(dtype).requires_grad_()
    y, g = norm(x), torch.randn(7, 64).to(dtype)
    y.backward(g)
    other, weight = x.detach().float().requires_grad_(), norm.weight.detach().float().requires_grad_()
    wanted = F.rms_norm(other, (64,), weight, norm.eps)
    wanted.backward(g.float())
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(y.float(), wanted, **near)
    torch.testing.assert_close(x.grad.float(), other.grad, **near)
    assert (norm.weight.grad is not None) == learns
    if learns:
        torch.testing.assert_close(norm.weight.grad.float(), weight.grad, rtol=5e-2, atol=5e-2)


def test_a_gated_layer_computes_the_same_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    layer = GatedFeedForward(16, 24)
    for p in layer.parameters():
        p.data.normal_()
    x = torch.randn(9, 16)
    with torch.no_grad():
        plain = layer(x)
    torch.testing.assert_close(layer(x.requires_grad_()), plain)


@pytest.mark.parametrize("transposed", [False, True])
def test_bfloat16_products_are_added_up_in_float32(transposed: bool) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(48, 300).bfloat16(), torch.randn(300, 40).bfloat16().t()
    w = w if transposed else w.contiguous()
    exact = x.double() @ w.double().t()
    assert (product(x, w).double() - exact).abs().max() <= 2**-8 * exact.abs().max()
