"""Which segments of a batch are compared: every pair of the responses to one prompt."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch


@dataclass(slots=True)
class Pairs:
    """P pairs of segments of I prompts. `better`, `worse` [P] int64; `share` [P] float32 adds up to 1 for each prompt:
    the K (K - 1) / 2 pairs of K ranked responses count as one example (Ouyang et al. 2022, arXiv:2203.02155, 3.5)."""

    better: Tensor
    worse: Tensor
    share: Tensor
    prompts: int

    def mean(self, values: Tensor) -> Tensor:
        """[P] -> the sum over prompts of the mean over their pairs."""
        return (values * self.share).sum()


def pairs(batch: TrainBatch) -> Pairs:
    """The pairs of a batch of preferences, whose labels are ranks: 0, the best, begins a prompt."""
    ranks = [] if batch.labels is None else batch.labels.tolist()
    starts = [i for i, rank in enumerate(ranks) if rank == 0]
    if len(ranks) != batch.batch.segments or not starts or starts[0] != 0:
        raise ValueError("a batch of preferences has the rank of each of its segments as labels")
    better, worse, share = [], [], []
    for begin, end in zip(starts, [*starts[1:], len(ranks)], strict=True):
        found = list(combinations(range(begin, end), 2))
        better += [a for a, _ in found]
        worse += [b for _, b in found]
        share += [1 / len(found)] * len(found)
    device = batch.batch.ids.device
    return Pairs(
        torch.tensor(better, device=device),
        torch.tensor(worse, device=device),
        torch.tensor(share, dtype=torch.float32, device=device),
        len(starts),
    )


def together(data: Prepared) -> int:
    """How many segments a prompt has, where all have as many; more than any batch has where they differ."""
    sizes = np.unique(np.concatenate([np.diff(t.items) for t in data.tokens]))
    return int(sizes[0]) if len(sizes) == 1 else 1 << 30


def need_preferences(data: Prepared | None, name: str) -> None:
    """Raises `BadInput` when the data are not preferences."""
    if data is None or not data.tokens or any(t.counts.format != "preference" for t in data.tokens):
        raise BadInput(
            f"{name} needs preferences", hint='give {"prompt": ..., "chosen": ..., "rejected": ...}, or "responses"'
        )
