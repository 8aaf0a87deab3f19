"""What a training objective reads: a packed batch and what is asked of each of its rows.

There is no padding. Row n of the batch predicts `targets[n]` and counts `weights[n]`; the last token of a segment
predicts nothing (weight 0), so no segment can see or be scored on its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from idiolect.nn import Batch


@dataclass(frozen=True, slots=True)
class Counted:
    """Which rows count in the loss (int64 index; None: all), and the sum of their weights."""

    rows: Tensor | None
    weight: float

    @classmethod
    def of(cls, weights: Tensor) -> Counted:
        """Waits for the device that `weights` [N] is on."""
        if not bool((weights == 0).any()):
            return cls(None, float(weights.sum()))
        rows = weights.nonzero().squeeze(1)
        return cls(rows, float(weights[rows].sum()))


@dataclass(slots=True)
class TrainBatch:
    """N tokens in S segments. A micro-batch: the loop sums the losses of several before one optimiser step."""

    batch: Batch  # state None
    targets: Tensor  # [N] int64: the token that row n predicts; anything where the weight is 0
    weights: Tensor  # [N] float32: how much row n counts in the loss, 0 not at all
    labels: Tensor | None = None  # [S] classes (int64) or values (float32), for heads on whole segments
    reference: Tensor | None = None  # [S] float32 log-probability of each segment under a reference model (DPO)
    known: Counted | None = None  # of a batch on a GPU: found on the host before it was moved

    @property
    def tokens(self) -> int:
        """N, every token that was computed."""
        return len(self.batch)

    @property
    def counted(self) -> int:
        """How many rows count in the loss."""
        return int((self.weights > 0).sum())

    def to(self, device: torch.device | str) -> TrainBatch:
        """The same on another device. On the way to a GPU nothing waits for what it computes just now: copies leave
        from pinned memory, and what the loss asks of the weights is found here."""
        known = self.known
        if torch.device(device).type != "cuda" or self.weights.device.type != "cpu":

            def move(value: Tensor) -> Tensor:
                return value.to(device)

        else:
            found = Counted.of(self.weights)

            def move(value: Tensor) -> Tensor:
                return value.pin_memory().to(device, non_blocking=True)

            known = Counted(None if found.rows is None else move(found.rows), found.weight)
        b = self.batch
        moved = replace(b, ids=move(b.ids), pos=move(b.pos), cu=move(b.cu), out=None if b.out is None else move(b.out))
        return TrainBatch(
            moved,
            move(self.targets),
            move(self.weights),
            None if self.labels is None else move(self.labels),
            None if self.reference is None else move(self.reference),
            known,
        )
