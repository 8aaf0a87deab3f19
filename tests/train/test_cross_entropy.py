"""Chunked equals whole: values, gradients, every option; and [N, V] is never held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.train.cross_entropy import cross_entropy


def whole(h: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor, smoothing: float, z: float) -> Tensor:
    logits = head(h).float()
    rows = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return ((rows + z * logits.logsumexp(-1).square()) * weights).sum()


@pytest.mark.parametrize("rows", [1, 7, 40, 64])
@pytest.mark.parametrize(("smoothing", "z"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.2, 1e-2)])
def test_chunked_is_whole(rows: int, smoothing: float, z: float) -> None:
    torch.manual_seed(0)
    h = torch.randn(40, 16, dtype=torch.float64, requires_grad=True)
    head = nn.Linear(16, 23, dtype=torch.float64)
    targets, weights = torch.randint(0, 23, (40,)), torch.rand(40)
    expected = whole(h, head, targets, weights, smoothing, z)
    wanted = torch.autograd.grad(expected, [h, head.weight, head.bias])
    total, scores = cross_entropy(
        h, targets, weights, head, [head.weight, head.bias], smoothing=smoothing, z_loss=z, rows=rows
    )
    (3 * total).backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, want in zip([h.grad, head.weight.grad, head.bias.grad], wanted, strict=True):
        torch.testing.assert_close(got, 3 * want, rtol=1e-4, atol=1e-6)
    logits = head(h)
    torch.testing.assert_close(scores.nll, F.cross_entropy(logits, targets, reduction="none").float())
    assert torch.equal(scores.hit, logits.argmax(-1) == targets)


def test_a_frozen_head_gets_no_gradient_and_no_grad_works() -> None:
    head = nn.Linear(8, 11).requires_grad_(False)
    h = torch.randn(5, 8, requires_grad=True)
    targets, weights = torch.randint(0, 11, (5,)), torch.ones(5)
    total, _ = cross_entropy(h, targets, weights, head, rows=2)
    total.backward()
    assert h.grad is not None
    assert head.weight.grad is None
    with torch.no_grad():
        again, _ = cross_entropy(h, targets, weights, head, rows=2)
    assert not again.requires_grad
    assert again.item() == pytest.approx(total.item())


def test_only_the_head_learns() -> None:
    head = nn.Linear(8, 11)
    total, _ = cross_entropy(
        torch.randn(5, 8), torch.zeros(5, dtype=torch.int64), torch.ones(5), head, [*head.parameters()]
    )
    total.backward()
    assert head.weight.grad is not None


MEASURE = """
import re, sys, torch
from pathlib import Path
from torch import nn
sys.path.insert(0, {src!r})
from idiolect.train.cross_entropy import cross_entropy
torch.set_num_threads(1)
n, d, v = 4096, 16, 8192
h, head = torch.randn(n, d, requires_grad=True), nn.Linear(d, v, bias=False)
t, w = torch.randint(0, v, (n,)), torch.ones(n)
def peak():
    # not getrusage: its maximum is inherited from the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
cross_entropy(h[:64], t[:64], w[:64], head, [head.weight], rows=64)[0].backward()
before = peak()
if sys.argv[1] == "whole":
    torch.nn.functional.cross_entropy(head(h), t, reduction="sum").backward()
else:
    cross_entropy(h, t, w, head, [head.weight], rows=256)[0].backward()
print(peak() - before)
"""


def test_peak_memory_is_a_chunk_not_the_logits() -> None:
    """[N, V] float32 is 134 MB here; the whole way needs at least that, a chunk of 256 rows three times 8 MB."""
    src = str(Path(__file__).parents[2] / "src")
    used = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", MEASURE.format(src=src), way], check=True, capture_output=True, text=True
            ).stdout
        )
        for way in ("whole", "chunked")
    }
    assert used["whole"] > 134e6
    assert used["chunked"] < 60e6, used
