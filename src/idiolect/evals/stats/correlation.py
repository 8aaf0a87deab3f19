"""Do two metrics say the same of the same items? A metric that follows another adds nothing; one that follows no
judgement of people measures something else.

Spearman 1904, "The proof and measurement of association between two things": Pearson's correlation of the ranks, equal
values sharing their mean rank. The interval is a bootstrap over items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate


def spearman(a: ArrayLike, b: ArrayLike, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Rank correlation of item scores `a` and `b` [n], in [-1, 1]; 0 where either never varies. An item without both
    scores is left out."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise BadInput(f"{x.size} and {y.size} scores cannot be paired", hint="give both metrics of the same items")
    return bootstrap(np.stack([x, y], 1), _of_ranks, draws=draws, seed=seed)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] ranks from 1, equal values sharing their mean rank."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[where]
    return mean


def _of_ranks(rows: NDArray[np.float64]) -> float:
    x, y = ranks(rows[:, 0]), ranks(rows[:, 1])
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0
