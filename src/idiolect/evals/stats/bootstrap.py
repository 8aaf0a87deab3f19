"""Bootstrap intervals: the spread of a figure over samples drawn from the sample.

Efron 1987, "Better bootstrap confidence intervals", JASA 82: the bias-corrected and accelerated interval (BCa), whose
ends are moved by how the resampled figures lie around the measured one and by how much each item pulls. A percentile
interval is too narrow for few or skewed items; BCa corrects most of it, and a mean of many items gives both alike.

Items that belong together (questions on one passage, samples of one prompt) are drawn together: give `groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.evals.stats.estimate import Estimate

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], float]
AT_ONCE = 1 << 22  # numbers that exist at once while resampling means


def resample(
    values: ArrayLike,
    statistic: Statistic | None = None,
    *,
    groups: Sequence[object] | None = None,
    draws: int,
    seed: int,
) -> Floats:
    """[draws] figures of samples drawn with replacement from `values` [n, ...]; the mean when `statistic` is None."""
    x = np.asarray(values, dtype=np.float64)
    rng = Streams(seed).numpy("bootstrap")
    if groups is not None:
        return _grouped(x, statistic or _mean, groups, draws, rng)
    if statistic is not None:
        return np.array([statistic(x[rng.integers(0, len(x), len(x))]) for _ in range(draws)])
    out = np.empty(draws)
    step = max(1, AT_ONCE // max(1, len(x)))
    for begin in range(0, draws, step):
        rows = min(step, draws - begin)
        out[begin : begin + rows] = x[rng.integers(0, len(x), (rows, len(x)))].mean(1)
    return out


def _mean(x: Floats) -> float:
    return float(x.mean())


def _grouped(x: Floats, statistic: Statistic, groups: Sequence[object], draws: int, rng: np.random.Generator) -> Floats:
    members: dict[object, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    parts = [np.array(rows) for rows in members.values()]
    return np.array(
        [
            statistic(x[np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))])])
            for _ in range(draws)
        ]
    )


def bootstrap(
    values: ArrayLike,
    statistic: Statistic | None = None,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The figure of all items with its BCa interval. `values` [n] (or [n, k] for a `statistic` of several columns);
    what is not finite marks an item without a score: counted and left out. `BadInput` when nothing has a score. Where
    every draw gives the same figure, the draws say nothing of its spread: the interval is [-inf, inf]."""
    x = np.asarray(values, dtype=np.float64)
    scored: NDArray[np.bool_] = (
        np.isfinite(x.reshape(len(x), -1).sum(axis=1)) if len(x) else np.zeros(0, dtype=np.bool_)
    )
    missing = int(len(x) - scored.sum())
    if not scored.any():
        raise BadInput(f"none of {len(x)} items has a score", hint="look at the answers: nothing could be graded")
    x = x[scored]
    kept = None if groups is None else [g for g, ok in zip(groups, scored.tolist(), strict=True) if ok]
    measure = statistic or _mean
    value = measure(x)
    units = len(x) if kept is None else len(set(kept))
    if units == 1:
        return Estimate(value, float("-inf"), float("inf"), len(x), float("nan"), level, missing)
    found = resample(x, statistic, groups=kept, draws=draws, seed=seed)
    if np.ptp(found) <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, float("-inf"), float("inf"), len(x), 0.0, level, missing)
    low, high = _bca(value, found, _pulls(x, statistic, kept), level)
    return Estimate(value, low, high, len(x), float(found.std(ddof=1)), level, missing)


def _pulls(x: Floats, statistic: Statistic | None, groups: Sequence[object] | None) -> Floats:
    """The figure without each item (or group) in turn: the jackknife."""
    if groups is None:
        if statistic is None:
            return (x.sum() - x) / (len(x) - 1)
        return np.array([statistic(np.delete(x, i, 0)) for i in range(len(x))])
    numbers: dict[object, int] = {}
    labels = np.array([numbers.setdefault(g, len(numbers)) for g in groups])
    measure = statistic or _mean
    return np.array([measure(x[labels != number]) for number in numbers.values()])


def _bca(value: float, found: Floats, pulls: Floats, level: float) -> tuple[float, float]:
    normal = NormalDist()
    below = (np.sum(found < value) + 0.5 * np.sum(found == value)) / len(found)
    if not 0 < below < 1:
        return float(found.min()), float(found.max())
    bias = normal.inv_cdf(float(below))
    away = pulls.mean() - pulls
    spread = float((away**2).sum())
    accelerate = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + z / (1 - accelerate * z)))
    low, high = np.quantile(found, ends)
    return float(low), float(high)
