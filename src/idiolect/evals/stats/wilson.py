"""The interval of a proportion: Wilson 1927, JASA 22. Right also near 0 and 1, where value +- error is not."""

from __future__ import annotations

import math
from statistics import NormalDist

from idiolect.core.errors import BadInput
from idiolect.evals.stats.estimate import Estimate


def wilson(right: float, n: int, level: float = 0.95) -> Estimate:
    """`right` of `n` (a sum of shares may be no whole number) with its interval. No items: everything is possible,
    [0, 1]."""
    if not 0 <= right <= n:
        raise BadInput(f"{right} of {n} is no proportion", hint="give 0 <= right <= n")
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0, float("nan"), level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half), n, math.sqrt(p * (1 - p) / n), level)
