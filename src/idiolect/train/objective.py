"""What training minimises: `Objective(model, batch) -> Loss`, in sums and weights.

A loss is a sum and the weight it is a sum over, never a mean: means of means change with how examples are packed into
batches and how many batches make a step. The loop divides once per optimiser step by the weight of the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from idiolect.data.batch import TrainBatch
from idiolect.models.base import Model

Metric = tuple[float | Tensor, float]  # (sum, weight), added up like the loss; a tensor is not waited for


@dataclass(slots=True)
class Loss:
    """`sum` is a scalar with a graph; `weight` counts what it sums over (weighted tokens, examples, pairs). `metrics`
    are figures to report (accuracy, margin): name -> (sum, weight)."""

    sum: Tensor
    weight: float
    metrics: Mapping[str, Metric] = field(default_factory=dict)


class Objective(Protocol):
    """A way of training. It may hold parameters of its own (a head): then it is an `nn.Module` as well."""

    def __call__(self, model: Model, batch: TrainBatch) -> Loss: ...


class Source(Protocol):
    """Where batches come from. What it gives for a step is a pure function of its data, its seed and the step, so that
    a run that was stopped goes on with the batch that it would have had."""

    @property
    def steps_per_epoch(self) -> int: ...

    def step(self, step: int) -> list[TrainBatch]:
        """The micro-batches of optimiser step `step` (from 0, across epochs)."""
        ...
