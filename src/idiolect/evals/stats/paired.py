"""The difference of two systems that answered the same items.

Most of the noise of a score is the items' own difficulty, which both systems share: the interval of the differences
is far narrower than what two separate intervals suggest (Miller 2024, "Adding error bars to evals", arXiv:2411.00640).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idiolect.core.errors import BadInput
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.figure import right_or_wrong
from idiolect.evals.stats.mcnemar import difference, mcnemar
from idiolect.evals.stats.swap import LEAST, sign_flips

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B on the items that both scored. `p` is two-sided: McNemar's exact test for right and wrong, else a
    sign-flip test; NaN where too few items (or groups) differ for any test, which `differ` counts. `correlation` of
    the items' scores says what pairing gained."""

    estimate: Estimate
    wins: int  # items on which A scored higher
    losses: int
    p: float
    correlation: float
    differ: int = 0

    @property
    def clear(self) -> bool:
        """The interval leaves 0 out and the test agrees."""
        return self.estimate.clear_of(0.0) and self.p < ALPHA


def paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compare item scores `a` [n] and `b` [n], NaN where an item has none. `BadInput` when the lengths differ."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise BadInput(f"{len(x)} and {len(y)} items cannot be paired", hint="both systems must answer the same items")
    both = np.isfinite(x) & np.isfinite(y)
    gaps = np.where(both, x - np.where(both, y, 0.0), np.nan)
    estimate = bootstrap(gaps, groups=groups, level=level, draws=draws, seed=seed)
    together = None if groups is None else [g for g, ok in zip(groups, both.tolist(), strict=True) if ok]
    x, y, known = x[both], y[both], gaps[both]
    wins, losses = int((known > 0).sum()), int((known < 0).sum())
    if together is None and right_or_wrong(x) and right_or_wrong(y):
        low, high = difference(wins, losses, len(known), level)
        estimate = Estimate(estimate.value, low, high, len(known), estimate.error, level, estimate.unscored)
        differ = wins + losses
        p = mcnemar(wins, losses) if differ >= LEAST else float("nan")
    else:
        p, differ = sign_flips(known, together, draws, seed)
    varies = len(known) > 1 and x.std() > 0 and y.std() > 0
    correlation = float(np.corrcoef(x, y)[0, 1]) if varies else float("nan")
    return Difference(estimate, wins, losses, p, correlation, differ)
