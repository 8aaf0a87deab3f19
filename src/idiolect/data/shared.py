"""Examples of a micro-batch that begin alike: the rows that they share are computed once.

A chat template opens every example with the same words, and the responses to one prompt share all of it. Where causal
segments begin with the same tokens, their hidden rows there are the same, so one trunk serves them all and each goes on
as a branch of it (`nn.tree`): losses and gradients are those of the separate segments. The same was done for groups of
sampled responses by Liu et al. 2025 (Prefix Grouper, arXiv:2506.05433). Only rows that count nothing in any loss are
shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from idiolect.data.batch import TrainBatch
from idiolect.nn import Batch
from idiolect.nn.tree import Tree

LEAST = 0.1  # of the rows; what would save fewer stays as it is


@dataclass(slots=True)
class Group:
    """Segments with a common beginning of `trunk` rows."""

    trunk: int
    members: list[int]

    @property
    def saved(self) -> int:
        """Rows that need not be computed."""
        return self.trunk * (len(self.members) - 1)


def share(batch: TrainBatch) -> TrainBatch:
    """The same losses from fewer rows; the batch itself where little would be saved. For objectives on rows only: a
    segment of the result is a trunk with its branches, and `labels` and `reference` are gone."""
    b = batch.batch
    if b.state is not None or b.tree is not None or b.front is not None or b.out is not None or b.segments < 2:
        return batch
    groups = grouped(b, batch.weights)
    if sum(g.saved for g in groups) < LEAST * len(b):
        return batch
    pieces, shapes, bounds = [], [], [0]
    for group in groups:
        first = b.bounds[group.members[0]]
        pieces.append(range(first, first + group.trunk))
        branches = [range(b.bounds[m] + group.trunk, b.bounds[m + 1]) for m in group.members]
        pieces += branches
        shapes.append((group.trunk, tuple(len(own) for own in branches)))
        bounds.append(bounds[-1] + group.trunk + sum(shapes[-1][1]))
    rows = torch.from_numpy(np.concatenate([np.arange(p.start, p.stop) for p in pieces])).to(b.ids.device)
    cu = torch.tensor(bounds, dtype=torch.int32, device=b.cu.device)
    own = Batch(b.ids[rows], b.pos[rows], cu, tuple(bounds), tree=Tree(shapes))
    return TrainBatch(own, batch.targets[rows], batch.weights[rows])


def grouped(b: Batch, weights: torch.Tensor) -> list[Group]:
    """Neighbours are joined as long as the group saves more rows with the next one than without it."""
    ids, pos, silent = b.ids.cpu().numpy(), b.pos.cpu().numpy(), (weights == 0).cpu().numpy()
    groups: list[Group] = []
    for number, (begin, end) in enumerate(pairwise(b.bounds)):
        # Its last row stays its own: no branch is empty.
        room = leading(silent[begin : end - 1])
        if groups:
            last = groups[-1]
            other = b.bounds[last.members[0]]
            most = min(room, last.trunk) if pos[begin] == pos[other] else 0
            common = leading(ids[begin : begin + most] == ids[other : other + most])
            if common * len(last.members) > last.saved:
                groups[-1] = Group(common, [*last.members, number])
                continue
        groups.append(Group(room, [number]))
    return [Group(0, g.members) if len(g.members) == 1 else g for g in groups]


def leading(true: np.ndarray) -> int:
    """How many of the first values are true, up to the first that is not."""
    return len(true) if true.all() else int(np.argmin(true))
