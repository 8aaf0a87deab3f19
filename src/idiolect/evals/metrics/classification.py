"""Accuracy, and precision, recall and F1 of each class and over them (van Rijsbergen 1979)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure


@dataclass(frozen=True, slots=True)
class Classes:
    """`counts[i, j]` [K, K]: items of class i that were called j. Each class's figures are [K]; 0 where there is
    nothing to divide by. `names` are those that occur, on either side."""

    names: tuple[Hashable, ...]
    counts: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        return _share(self.counts.diagonal(), self.counts.sum(0))

    @property
    def recall(self) -> NDArray[np.float64]:
        return _share(self.counts.diagonal(), self.counts.sum(1))

    @property
    def f1(self) -> NDArray[np.float64]:
        return _share(2 * self.counts.diagonal(), self.counts.sum(0) + self.counts.sum(1))


def confusion(said: Sequence[Hashable], true: Sequence[Hashable]) -> Classes:
    """Count who was called what. `BadInput` when there is nothing to count."""
    if len(said) != len(true) or not said:
        raise BadInput(f"{len(said)} answers for {len(true)} items", hint="give one answer for each item")
    names = tuple(sorted({*said, *true}, key=lambda v: (str(type(v)), v)))
    index = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names),) * 2, np.int64)
    np.add.at(counts, ([index[t] for t in true], [index[s] for s in said]), 1)
    return Classes(names, counts)


@measure("accuracy", formula="right / n", checked="scikit-learn's accuracy_score")
def accuracy(said: Sequence[Hashable], true: Sequence[Hashable]) -> float:
    """The share of items that were called what they are."""
    found = confusion(said, true)
    return float(found.counts.trace() / found.counts.sum())


@measure("macro_f1", formula="mean over classes of 2 P R / (P + R)", checked="scikit-learn's f1_score(average='macro')")
def macro_f1(said: Sequence[Hashable], true: Sequence[Hashable], *, among: Collection[Hashable] | None = None) -> float:
    """F1 with every class counting alike, however rare: always saying the commonest class scores low.

    `among`: the classes that count (None: all that occur on either side). An answer that names no class is wrong for
    its item, and no class of its own."""
    found = confusion(said, true)
    wanted = [among is None or name in among for name in found.names]
    return float(found.f1[wanted].mean())


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
    return found
