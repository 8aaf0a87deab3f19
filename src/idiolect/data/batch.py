"""What a training objective reads: a packed batch and what is asked of each of its rows.

There is no padding. Row n of the batch predicts `targets[n]` and counts `weights[n]`; the last token of a segment
predicts nothing (weight 0), so no segment can see or be scored on its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from idiolect.nn import Batch


@dataclass(slots=True)
class TrainBatch:
    """N tokens in S segments. A micro-batch: the loop sums the losses of several before one optimiser step."""

    batch: Batch  # state None
    targets: Tensor  # [N] int64: the token that row n predicts; anything where the weight is 0
    weights: Tensor  # [N] float32: how much row n counts in the loss, 0 not at all
    labels: Tensor | None = None  # [S] classes (int64) or values (float32), for heads on whole segments
    reference: Tensor | None = None  # [S] float32 log-probability of each segment under a reference model (DPO)

    @property
    def tokens(self) -> int:
        """N, every token that was computed."""
        return len(self.batch)

    @property
    def counted(self) -> int:
        """How many rows count in the loss."""
        return int((self.weights > 0).sum())

    def to(self, device: torch.device | str) -> TrainBatch:
        b = self.batch
        moved = replace(
            b,
            ids=b.ids.to(device),
            pos=b.pos.to(device),
            cu=b.cu.to(device),
            out=None if b.out is None else b.out.to(device),
        )
        return TrainBatch(
            moved,
            self.targets.to(device),
            self.weights.to(device),
            None if self.labels is None else self.labels.to(device),
            None if self.reference is None else self.reference.to(device),
        )
