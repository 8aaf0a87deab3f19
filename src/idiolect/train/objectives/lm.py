"""Next-token prediction: pretraining and supervised finetuning are one objective with different weights.

The loss of a batch is the sum over its rows of weight times -log p(target), over the sum of the weights. A weight of 0
masks a row (prompts, in SFT), one between 0 and 1 is a prompt-loss weight. Rows of weight 0 never reach the head, and
on a CPU those with which several segments begin are computed once (`data.shared`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data.batch import Counted, TrainBatch
from idiolect.data.shared import share
from idiolect.models.base import CausalModel, Model
from idiolect.train.cross_entropy import chunk_rows, cross_entropy
from idiolect.train.objective import Loss
from idiolect.train.objectives import objectives


@dataclass(frozen=True, slots=True)
class LMConfig:
    """`label_smoothing` spreads a part of the target over the vocabulary; `z_loss` keeps log Z near 0 (1e-4 is
    usual); `rows` is how many rows go through the head at once (null: by memory). `share`: what several segments of a
    micro-batch begin with, and what does not count, is computed once (with dropout it is dropped alike for all)."""

    label_smoothing: float = 0.0
    z_loss: float = 0.0
    rows: int | None = None
    share: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1 or self.z_loss < 0:
            raise BadInput("label_smoothing lies in [0, 1), z_loss is not negative", hint="0 turns either off")


class LM:
    """The objective `lm`. Metrics: `nll` (without smoothing and z), `accuracy`, and `bits_per_byte` where the model has
    a tokenizer that knows the bytes of its tokens."""

    def __init__(self, options: LMConfig | None = None) -> None:
        self.options = options or LMConfig()
        self._bytes: Tensor | None = None

    def __call__(self, model: Model, batch: TrainBatch) -> Loss:
        assert isinstance(model, CausalModel)
        if self.options.share and sharing(model, batch):
            batch = share(batch)
        known = batch.known or Counted.of(batch.weights)  # before the forward pass, which need not be waited for then
        hidden, targets, weights, weight = model.hidden(batch.batch), batch.targets, batch.weights, known.weight
        if known.rows is not None:
            hidden, targets, weights = hidden[known.rows], targets[known.rows], weights[known.rows]
        o, parameters = self.options, head_parameters(model)
        rows = o.rows or chunk_rows(model.config.vocab, hidden.device, learns=bool(parameters))
        total, scores = cross_entropy(
            hidden,
            targets,
            weights,
            model.logits,
            parameters,
            smoothing=o.label_smoothing,
            z_loss=o.z_loss,
            rows=rows,
        )
        nll = (scores.nll * weights).sum()
        metrics = {
            "nll": (nll, weight),
            "accuracy": ((scores.hit * weights).sum(), weight),
        }
        sizes = self._sizes(model)
        if sizes is not None:
            metrics["bits_per_byte"] = (nll / math.log(2), float((sizes[targets] * weights).sum()))
        return Loss(total, weight, metrics)

    def _sizes(self, model: Model) -> Tensor | None:
        """Bytes of each token [V], made once."""
        if self._bytes is None and model.tokenizer is not None and hasattr(model.tokenizer, "token_bytes"):
            tokenizer, size = model.tokenizer, model.config.vocab
            sizes = [len(tokenizer.token_bytes(i)) if i < len(tokenizer) else 0 for i in range(size)]
            self._bytes = torch.tensor(sizes, dtype=torch.float32, device=model.device)
        return self._bytes


def sharing(model: CausalModel, batch: TrainBatch) -> bool:
    """Whether rows that segments have in common may be computed once: on a CPU, with nothing learned in front, and
    with positions whose rotation does not depend on how long the segment is (dynamic NTK)."""
    rope = getattr(model, "rope", None)
    if rope is not None and rope.growth and max(e - b for b, e in pairwise(batch.batch.bounds)) > rope.trained:
        return False
    return model.device.type == "cpu" and model.front is None


def head_parameters(model: Model) -> list[Tensor]:
    """What is trained in the head: its own parameters, and a tied embedding's table."""
    head: Any = model.head
    own = [p for p in head.parameters() if p.requires_grad]
    tied = [e.weight for e in getattr(head, "_tied", ()) if e.weight is not None and e.weight.requires_grad]
    return own + tied


@objectives.register("lm")
def build(model: Model, options: Mapping[str, Any], data: object = None) -> LM:
    """Next-token prediction (pretraining, SFT): weighted cross-entropy of the targets."""
    if not isinstance(model, CausalModel):
        raise BadInput(f"{model.id} is an encoder and predicts no next token", hint="choose another objective or model")
    return LM(config.from_dict(LMConfig, options, "objective"))
