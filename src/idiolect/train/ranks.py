"""What the loop asks of the processes that train together. One process is the case of one rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from idiolect.data.batch import TrainBatch
from idiolect.nn import Batch


class Ranks:
    """One process that trains alone; `parallel.Group` is several."""

    rank = 0
    world = 1
    sharded = False  # whether parameters are shards, in float32, that are cast when they are gathered

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, micros: list[TrainBatch]) -> list[TrainBatch]:
        """This rank's micro-batches of a step: r, r + world, ... of all. Every rank gets equally many, because they
        meet in every forward and backward: where some are left over, the others compute a copy that counts nothing."""
        if self.world == 1 or not micros:
            return micros
        full = -(-len(micros) // self.world)
        own = micros[self.rank :: self.world]
        return own if len(own) == full else [*own, weightless(micros[0])]

    def add(self, values: Tensor) -> Tensor:
        """The sum over all ranks of a small vector."""
        return values

    def agree(self, flag: bool) -> bool:
        """Whether any rank says yes."""
        return bool(self.add(torch.tensor([float(flag)], dtype=torch.float64)).item() > 0)

    def full(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors as one process would hold them (every rank must call it)."""
        return dict(tensors)

    def barrier(self) -> None:
        """Wait for the others."""


def weightless(batch: TrainBatch) -> TrainBatch:
    """A copy of which nothing counts."""
    return replace(batch, weights=torch.zeros_like(batch.weights))


def segment(batch: TrainBatch, first: int, count: int = 1) -> TrainBatch:
    """Some neighbouring segments of a micro-batch as a batch of their own (to find the one that went wrong)."""
    bounds = batch.batch.bounds
    begin, end = bounds[first], bounds[first + count]
    cut = tuple(b - begin for b in bounds[first : first + count + 1])
    own = Batch(
        ids=batch.batch.ids[begin:end],
        pos=batch.batch.pos[begin:end],
        cu=torch.tensor(cut, dtype=torch.int32, device=batch.batch.cu.device),
        bounds=cut,
    )
    assert all(b > a for a, b in pairwise(cut))
    labels, reference = batch.labels, batch.reference
    return TrainBatch(
        own,
        batch.targets[begin:end],
        batch.weights[begin:end],
        None if labels is None else labels[first : first + count],
        None if reference is None else reference[first : first + count],
    )
