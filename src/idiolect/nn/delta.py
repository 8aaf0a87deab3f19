"""A delta: what a layer computes beside, or in place of, its own product.

Every row-wise layer of `nn` (linear, norms, embedding) has one slot, `layer.delta`. While training it holds one delta,
which then works on all rows. While serving it holds a `Choice`, and `routed` says which rows of the batch that is
computed now belong to which adapter: the layer's own product is computed once for all rows, and each adapter's rows
get its own delta (grouped as in Chen et al. 2023, Punica, arXiv:2310.18547).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Delta(nn.Module):
    """`before` changes what goes into the layer's product, `after` what comes out. x [N, ...] -> y [N, ...]; each row
    by itself, so that rows may be computed apart."""

    changes_input = False

    def before(self, x: Tensor) -> Tensor:
        return x

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        """`y` is fresh and may be changed in place where no gradients are recorded. `x` is what the layer was given."""
        return y

    def forward(self, x: Tensor, layer: Any) -> Tensor:
        return self.after(x, layer.plain(self.before(x)), layer)


class Holder(Protocol):
    """An adapter as a route knows it: its deltas by the path of their slot."""

    @property
    def deltas(self) -> Mapping[str, Delta]: ...


Rows = Tensor | None  # int64 indices; None: all
_now = threading.local()


@contextmanager
def routed(groups: Sequence[tuple[Holder, Rows]]) -> Iterator[None]:
    """Within the block, `Choice`s on this thread apply these adapters to these rows."""
    old = getattr(_now, "groups", ())
    _now.groups = groups
    try:
        yield
    finally:
        _now.groups = old


def groups_of(adapters: Sequence[Holder | None], counts: Sequence[int] | None, device: Any) -> list[tuple[Any, Rows]]:
    """Rows by adapter, for segments of `counts` rows each (None: one row each)."""
    sizes = [1] * len(adapters) if counts is None else counts
    found: dict[int, tuple[Any, list[range]]] = {}
    begin = 0
    for adapter, count in zip(adapters, sizes, strict=True):
        if adapter is not None:
            found.setdefault(id(adapter), (adapter, []))[1].append(range(begin, begin + count))
        begin += count
    groups: list[tuple[Any, Rows]] = []
    for adapter, ranges in found.values():
        rows = [row for r in ranges for row in r]
        groups.append((adapter, None if len(rows) == begin else torch.tensor(rows, device=device)))
    return groups


class Choice(nn.Module):
    """The slot of a served layer. Without a route it is the layer alone."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor, layer: Any) -> Tensor:
        found = [
            (delta, rows)
            for adapter, rows in getattr(_now, "groups", ())
            if (delta := adapter.deltas.get(self.path)) is not None
        ]
        if not found:
            return layer.plain(x)
        source = x
        for delta, rows in found:
            if delta.changes_input:
                if rows is None:
                    source = delta.before(x)
                else:
                    source = x.clone() if source is x else source
                    source[rows] = delta.before(x[rows])
        y: Tensor = layer.plain(source)
        for delta, rows in found:
            if rows is None:
                y = delta.after(x, y, layer)
            else:
                y[rows] = delta.after(x[rows], y[rows], layer)
        return y
