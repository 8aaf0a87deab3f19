"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290): preferences without a reward model.

    loss = -(1 - s) log sigmoid(beta d) - s log sigmoid(-beta d)
    d = (log pi(chosen) - log ref(chosen)) - (log pi(rejected) - log ref(rejected))

s is the part of the preferences that is taken to be wrong (cDPO, Mitchell 2023). Where there are more than two ranked
responses, every pair is compared, and the pairs of a prompt count as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from idiolect.align.logprobs import Responses
from idiolect.align.pairs import need_preferences, pairs, together
from idiolect.align.reference import remember
from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch
from idiolect.models.base import CausalModel, Model
from idiolect.train.objective import Loss
from idiolect.train.objectives import objectives


@dataclass(frozen=True, slots=True)
class DPOConfig:
    """`beta` is how dearly leaving the reference is paid for; `label_smoothing` is s; `cache` keeps the reference's
    log-probabilities for later runs."""

    beta: float = 0.1
    label_smoothing: float = 0.0
    cache: bool = True

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise BadInput(f"beta is {self.beta}", hint="give a positive number, such as 0.1", param="beta")
        if not 0 <= self.label_smoothing < 0.5:
            raise BadInput(f"label_smoothing is {self.label_smoothing}", hint="a part below one half of the labels")


def preference_loss(difference: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """[P] log-ratio differences d -> [P] losses."""
    scaled = beta * difference
    loss = -F.logsigmoid(scaled)
    return loss if not label_smoothing else (1 - label_smoothing) * loss - label_smoothing * F.logsigmoid(-scaled)


class DPO:
    """The objective `dpo`. The weight of a batch is its number of prompts. Metrics: `accuracy` (pairs whose chosen
    response gained more), `margin` (beta d), `chosen` and `rejected` (implicit rewards, beta times log-ratios)."""

    def __init__(self, options: DPOConfig | None = None) -> None:
        self.options = options or DPOConfig()
        self.group = 2  # segments that only make sense together

    def __call__(self, model: Model, batch: TrainBatch) -> Loss:
        assert isinstance(model, CausalModel)
        if batch.reference is None:
            raise BadInput("the batch has no reference log-probabilities", hint="call align.remember on the items")
        o, found, reference = self.options, pairs(batch), batch.reference

        def loss(policy: Tensor) -> Tensor:
            gained = policy - reference
            return found.mean(preference_loss(gained[found.better] - gained[found.worse], o.beta, o.label_smoothing))

        total, policy = Responses.of(model, batch).minimise(loss)
        rewards = o.beta * (policy - reference)
        better, worse = rewards[found.better], rewards[found.worse]
        figures = {"accuracy": (better > worse).float(), "margin": better - worse, "chosen": better, "rejected": worse}
        return Loss(total, found.prompts, {name: (found.mean(v), found.prompts) for name, v in figures.items()})


@objectives.register("dpo")
def build(model: Model, options: Mapping[str, Any], data: Prepared | None = None) -> DPO:
    """Direct preference optimisation; the reference is the model as it is now, without its adapter."""
    chosen = config.from_dict(DPOConfig, options, "objective")
    if not isinstance(model, CausalModel):
        raise BadInput(f"{model.id} is an encoder and writes no responses", hint="choose a language model")
    need_preferences(data, "dpo")
    assert data is not None
    for items in (data.items, data.held):
        if items is not None:
            remember(model, items, cache=chosen.cache)
    made = DPO(chosen)
    made.group = together(data)
    return made
