"""Classification finetuning: cross-entropy of a head on whole segments, the body frozen or trained with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import nn

from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch
from idiolect.models.base import Model
from idiolect.train.head import Head, Pool, head_config, rest
from idiolect.train.objective import Loss, Metric
from idiolect.train.objectives import objectives


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """`frozen` trains the head alone (features; the body stays as it is). `pool` null is the family's own. `seed` is
    of the head's first values."""

    frozen: bool = False
    pool: Pool | None = None
    dropout: float = 0.0
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.dropout < 1:
            raise BadInput("label_smoothing and dropout lie in [0, 1)", hint="0 turns either off")


class Classify(nn.Module):
    """The objective `classify`. The weight of a batch is its number of segments. Metrics: `accuracy`, and for two
    classes `precision` and `recall` of the second."""

    def __init__(self, head: Head, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.head, self.label_smoothing = head, label_smoothing

    def forward(self, model: Model, batch: TrainBatch) -> Loss:
        assert batch.labels is not None, "classification needs labelled data"
        scores = self.head(model.hidden(batch.batch), batch.batch)
        total = F.cross_entropy(scores, batch.labels, reduction="sum", label_smoothing=self.label_smoothing)
        found = scores.detach().argmax(-1)
        hits = found == batch.labels
        metrics: dict[str, Metric] = {"accuracy": (hits.sum().float(), len(hits))}
        if self.head.config.outputs == 2:
            metrics["precision"] = (float((hits & (found == 1)).sum()), float((found == 1).sum()))
            metrics["recall"] = (float((hits & (found == 1)).sum()), float((batch.labels == 1).sum()))
        return Loss(total, len(hits), metrics)

    def save(self, folder: Path) -> None:
        """The head alone."""
        self.head.save(folder)


@objectives.register("classify")
def build(model: Model, options: Mapping[str, Any], data: Prepared | None = None) -> Classify:
    """Classes of whole texts: a head on the last row of a decoder, on [CLS] of an encoder."""
    chosen = config.from_dict(HeadOptions, options, "objective")
    if data is None or not data.classes:
        raise BadInput(
            "classification needs labelled data with classes",
            hint='give {"text": ..., "label": ...}, and data.labels: classes where the labels are numbers',
        )
    return Classify(new_head(model, "classify", chosen, data.classes), chosen.label_smoothing)


def new_head(model: Model, kind: Any, options: Any, classes: tuple[str, ...] = ()) -> Head:
    """A head for `model`, whose body is frozen when the options say so."""
    rest(model)
    if options.frozen:
        model.requires_grad_(False)
    changes = {} if options.pool is None else {"pool": options.pool}
    head = Head(head_config(model, kind, classes, dropout=options.dropout, **changes), options.seed)
    return head.to(model.device)
