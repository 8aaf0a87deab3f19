"""Sums of a step: losses, weights, metrics and tokens of its micro-batches, on the device until they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from idiolect.data.batch import TrainBatch
from idiolect.train.objective import Loss


@dataclass(slots=True)
class Meter:
    """Adds up what objectives return. Nothing waits for the device before `totals`."""

    losses: list[Tensor] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    metrics: dict[str, tuple[list[Tensor], float]] = field(default_factory=dict)
    tokens: int = 0
    counted: int = 0

    def add(self, loss: Loss, batch: TrainBatch) -> None:
        self.losses.append(loss.sum.detach().float())
        self.weights.append(loss.weight)
        for name, (value, weight) in loss.metrics.items():
            values, total = self.metrics.get(name, ([], 0.0))
            values.append(torch.as_tensor(value, dtype=torch.float32, device=loss.sum.device).detach())
            self.metrics[name] = (values, total + weight)
        if loss.weight:  # not a copy that only keeps a rank company
            self.tokens += batch.tokens
            self.counted += batch.counted

    def sums(self) -> Tensor:
        """[2 + 2M + 2] float64: loss, weight, then (sum, weight) of each metric by name, then tokens and counted: one
        vector, so that ranks add up all of it at once."""
        values = [float(torch.stack(self.losses).double().sum()) if self.losses else 0.0, sum(self.weights)]
        for name in sorted(self.metrics):
            parts, weight = self.metrics[name]
            values += [float(torch.stack(parts).double().sum()), weight]
        return torch.tensor([*values, self.tokens, self.counted], dtype=torch.float64)

    def figures(self, sums: Tensor) -> dict[str, float]:
        """Means by name of a vector that `sums` gave, perhaps added over ranks; `ppl` where there is an nll."""
        values = sums.tolist()
        found = {"loss": ratio(values[0], values[1])}
        for i, name in enumerate(sorted(self.metrics)):
            found[name] = ratio(values[2 + 2 * i], values[3 + 2 * i])
        if "nll" in found:
            found["ppl"] = math.exp(min(found["nll"], 700.0))
        return found


def ratio(total: float, weight: float) -> float:
    return total / weight if weight else 0.0
