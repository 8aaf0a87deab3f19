"""A table of vectors, one per token or position."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.nn.delta import Choice, Delta
from idiolect.nn.held import Held
from idiolect.nn.tape import Sym


class Embedding(nn.Embedding):
    """ids [N] int64 -> [N, D]. The table [V, D] is a parameter, or held in another form (`nn.held`)."""

    weight: Any  # a Parameter; None while `stored` holds the rows

    def __init__(self, rows: int, dim: int) -> None:
        """The values come later: from a file, or from `Model.initialise`."""
        super().__init__(rows, dim, _weight=torch.empty(rows, dim))
        self.stored: Held | None = None
        self.delta: Delta | Choice | None = None

    def hold(self, stored: Held) -> None:
        """Compute with a matrix in another form; the parameter goes."""
        self.weight, self.stored = None, stored

    def dense(self) -> Tensor:
        """The table as floats, whichever way it is held."""
        return self.weight if self.stored is None else self.stored.dequantise()

    def forward(self, ids: Tensor) -> Tensor:
        if isinstance(ids, Sym):
            return ids.embed(self, self.embedding_dim)
        return self.plain(ids) if self.delta is None else self.delta(ids, self)

    def plain(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight) if self.stored is None else self.stored.rows(ids)
