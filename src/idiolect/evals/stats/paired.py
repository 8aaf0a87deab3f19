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
from idiolect.core.rng import Streams
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B on the items that both scored. `p` is the two-sided p-value of a sign-flip test (Fisher's
    randomisation test); `correlation` of the items' scores says what pairing gained."""

    estimate: Estimate
    wins: int  # items on which A scored higher
    losses: int
    p: float
    correlation: float

    @property
    def clear(self) -> bool:
        """The interval of the difference leaves 0 out."""
        return self.estimate.clear_of(0.0)


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
    gaps = x - y
    estimate = bootstrap(gaps, groups=groups, level=level, draws=draws, seed=seed)
    both = ~np.isnan(gaps)
    x, y, known = x[both], y[both], gaps[both]
    varies = len(known) > 1 and x.std() > 0 and y.std() > 0
    return Difference(
        estimate,
        int((known > 0).sum()),
        int((known < 0).sum()),
        _sign_flips(known, draws, seed) if groups is None else float("nan"),
        float(np.corrcoef(x, y)[0, 1]) if varies else float("nan"),
    )


def _sign_flips(gaps: np.ndarray, draws: int, seed: int) -> float:
    """How often random signs give a mean difference at least as far from 0; never 0, since the sample itself counts."""
    rng = Streams(seed).numpy("sign-flips")
    seen = abs(gaps.sum())
    changed = gaps[gaps != 0]
    if not len(changed):
        return 1.0
    far = 0
    for begin in range(0, draws, 256):
        rows = min(256, draws - begin)
        signs = rng.integers(0, 2, (rows, len(changed))) * 2 - 1
        far += int((abs(signs @ changed) >= seen - 1e-12 * max(1.0, seen)).sum())
    return (far + 1) / (draws + 1)
