"""A figure with the interval that fits its values.

- Right or wrong, each item by itself: Wilson's interval. A bootstrap of items that are all right gives [1, 1] however
  few they are, and near 0 and 1 its coverage jumps (docs/metrics.md has the numbers).
- Anything else: a bootstrap (BCa).
- A share (0 to 1) that is the same in every draw: Wilson's interval for that share and as many items (or groups) as
  there are. Nothing in [0, 1] varies more than right and wrong do, so it is wide enough.
- Any other figure that no draw changes: no interval, which is [-inf, inf].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.evals.stats.bootstrap import Statistic, bootstrap
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.wilson import wilson


def figure(
    values: ArrayLike,
    statistic: Statistic | None = None,
    *,
    share: bool = False,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """As `bootstrap`, which it is where nothing better is known. `share`: the figure lies in [0, 1]."""
    x = np.asarray(values, np.float64)
    if statistic is None and groups is None and x.ndim == 1 and right_or_wrong(x):
        known = x[np.isfinite(x)]
        return replace(wilson(float(known.sum()), len(known), level), unscored=len(x) - len(known))
    found = bootstrap(x, statistic, groups=groups, level=level, draws=draws, seed=seed)
    if not share or math.isfinite(found.low) or not 0 <= found.value <= 1:
        return found
    scored = np.isfinite(x.reshape(len(x), -1).sum(1)).tolist()
    units = found.n if groups is None else len({g for g, ok in zip(groups, scored, strict=True) if ok})
    wide = wilson(found.value * units, units, level)
    return replace(found, low=wide.low, high=wide.high)


def right_or_wrong(values: NDArray[np.float64]) -> bool:
    """Whether every item that has a score has 0 or 1; one has to have some."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(np.isin(known, (0.0, 1.0)).all())
