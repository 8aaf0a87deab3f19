"""Muon: momentum, made orthogonal (Keller Jordan 2024, kellerjordan.github.io/posts/muon).

The update of a matrix is the nearest semi-orthogonal matrix to its momentum, by five steps of a quintic Newton-Schulz
iteration; singular values end near 1, so that rare directions move as far as common ones. For matrices only: what is
looked up (embeddings), the head, norms and biases take AdamW (`optim.build`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the quintic with the steepest slope at 0 that stays near 1


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """[Out, In] -> [Out, In] of the same dtype with singular values in about [0.7, 1.2]. bfloat16 on CUDA, where the
    iteration is stable in it; float32 elsewhere."""
    a, b, c = COEFFICIENTS
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the step is scaled by sqrt(max(1, Out/In)), so that one learning rate fits
    all shapes. Weight decay is decoupled. Parameters are matrices."""

    def __init__(
        self, params: Iterable[Any], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon takes matrices, not a parameter of shape {list(p.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                velocity = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalise(whole(p.grad.lerp(velocity, group["momentum"])))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(like(update, p), alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)
        return loss


def whole(value: Tensor) -> Tensor:
    """A sharded gradient, gathered: the iteration needs the whole matrix."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, p: Tensor) -> Tensor:
    """The whole matrix, sharded as the parameter is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    return distribute_tensor(value, p.device_mesh, p.placements) if isinstance(p, DTensor) else value
