"""Reward models: a value for each response, such that better ones get more (Ouyang et al. 2022, arXiv:2203.02155).

    loss = mean over the pairs of a prompt's responses of -log sigmoid(r_better - r_worse - margin)

as in Bradley and Terry (1952). Only differences of rewards are learned; `center` holds their level near 0 (Eisenstein
et al. 2023, arXiv:2312.09244).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import nn

from idiolect.align.pairs import need_preferences, pairs, together
from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch
from idiolect.models.base import Model
from idiolect.train.head import Head, Pool
from idiolect.train.objective import Loss
from idiolect.train.objectives import objectives
from idiolect.train.objectives.classify import new_head


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """`margin` is how far apart two rewards shall be (Touvron et al. 2023, arXiv:2307.09288, 3.2.2); `center` times
    (r_better + r_worse)^2 is added; `frozen` trains the head alone; `seed` is of the head's first values."""

    margin: float = 0.0
    center: float = 0.0
    frozen: bool = False
    pool: Pool | None = None
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.margin < 0 or self.center < 0 or not 0 <= self.dropout < 1:
            raise BadInput("margin and center are not negative, dropout lies in [0, 1)", hint="0 turns each off")


class Reward(nn.Module):
    """The objective `reward`. The weight of a batch is its number of prompts. Metrics: `accuracy` (pairs in the right
    order) and `margin` (mean difference of rewards)."""

    def __init__(self, head: Head, options: RewardConfig | None = None) -> None:
        super().__init__()
        self.head, self.options = head, options or RewardConfig()
        self.group = 2  # segments that only make sense together

    def forward(self, model: Model, batch: TrainBatch) -> Loss:
        rewards = self.head(model.hidden(batch.batch), batch.batch).squeeze(-1)
        found, o = pairs(batch), self.options
        better, worse = rewards[found.better], rewards[found.worse]
        losses = -F.logsigmoid(better - worse - o.margin)
        if o.center:
            losses = losses + o.center * (better + worse).square()
        apart = (better - worse).detach()
        figures = {"accuracy": (apart > 0).float(), "margin": apart}
        return Loss(
            found.mean(losses), found.prompts, {name: (found.mean(v), found.prompts) for name, v in figures.items()}
        )

    def save(self, folder: Path) -> None:
        """The head alone; `train.headed.HeadedModel` writes it with its body."""
        self.head.save(folder)


@objectives.register("reward")
def build(model: Model, options: Mapping[str, Any], data: Prepared | None = None) -> Reward:
    """A reward model from ranked responses: a head with one output."""
    chosen = config.from_dict(RewardConfig, options, "objective")
    need_preferences(data, "a reward model")
    assert data is not None
    made = Reward(new_head(model, "reward", chosen), chosen)
    made.group = together(data)
    return made
