"""Regression: the squared error of a value that a head reads from whole segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch
from idiolect.models.base import Model
from idiolect.train.head import Head
from idiolect.train.objective import Loss
from idiolect.train.objectives import objectives
from idiolect.train.objectives.classify import HeadOptions, new_head


class Regress(nn.Module):
    """The objective `regress`: sum over segments of (value - label)^2. Metric: `mae`, the mean absolute error."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, model: Model, batch: TrainBatch) -> Loss:
        assert batch.labels is not None, "regression needs labelled data"
        error = self.head(model.hidden(batch.batch), batch.batch).squeeze(-1) - batch.labels.float()
        return Loss(error.square().sum(), len(error), {"mae": (error.detach().abs().sum(), len(error))})

    def save(self, folder: Path) -> None:
        """The head alone."""
        self.head.save(folder)


@objectives.register("regress")
def build(model: Model, options: Mapping[str, Any], data: Prepared | None = None) -> Regress:
    """A number from a whole text: a head with one output and the squared error."""
    if data is None or not data.tokens or data.tokens[0].labels is None or data.classes:
        raise BadInput(
            "regression needs labelled data with values",
            hint='give {"text": ..., "label": 1.5}, and data.labels: values where the labels are texts',
        )
    return Regress(new_head(model, "regress", config.from_dict(HeadOptions, options, "objective")))
