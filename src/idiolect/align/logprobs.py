"""Log-probabilities of responses, with gradients, though the logits [N, V] never exist.

What is minimised depends on the sum of a response's log-probabilities, and its gradient is that of a weighted
cross-entropy whose weights are known once the sums are. So the head runs twice over the counted rows, the body once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.data.batch import TrainBatch
from idiolect.models.base import CausalModel
from idiolect.train.cross_entropy import chunk_rows, cross_entropy
from idiolect.train.objectives.lm import head_parameters


@dataclass(slots=True)
class Responses:
    """R counted rows of S segments. hidden [R, D], targets [R], weights [R], segment [R] int64."""

    model: CausalModel
    hidden: Tensor
    targets: Tensor
    weights: Tensor
    segment: Tensor
    segments: int

    @classmethod
    def of(cls, model: CausalModel, batch: TrainBatch) -> Responses:
        """Run the body."""
        hidden = model.hidden(batch.batch)
        rows = batch.weights.nonzero().squeeze(1)
        segment = torch.bucketize(rows, batch.batch.cu[1:].long(), right=True)
        return cls(model, hidden[rows], batch.targets[rows], batch.weights[rows], segment, batch.batch.segments)

    def logprobs(self) -> Tensor:
        """[S] float32 sum of weight * log p(target) over each segment's counted rows; without a graph."""
        with torch.no_grad():
            _, scores = self._cross_entropy(self.weights)
        out = self.hidden.new_zeros(self.segments, dtype=torch.float32)
        return out.index_add(0, self.segment, -scores.nll * self.weights)

    def minimise(self, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """(a scalar with the value and the gradients of loss(logprobs), logprobs [S] without a graph)."""
        found = self.logprobs()
        if not torch.is_grad_enabled():
            return loss(found), found
        with torch.enable_grad():
            leaf = found.clone().requires_grad_(True)
            value = loss(leaf)
            (slope,) = torch.autograd.grad(value, leaf)
        # d loss = sum_s slope_s d logprob_s = sum over rows of -slope_s weight d nll
        carrier, _ = self._cross_entropy(-slope[self.segment] * self.weights)
        return carrier + (value.detach() - carrier.detach()), found

    def _cross_entropy(self, weights: Tensor):  # type: ignore[no-untyped-def]
        rows = chunk_rows(self.model.config.vocab)
        return cross_entropy(
            self.hidden, self.targets, weights, self.model.logits, head_parameters(self.model), rows=rows
        )


@torch.no_grad()
def logprobs(model: CausalModel, batch: TrainBatch) -> Tensor:
    """[S] float32 log-probability of each segment's counted tokens."""
    return Responses.of(model, batch).logprobs()
