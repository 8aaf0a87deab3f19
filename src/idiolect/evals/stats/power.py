"""How many items a comparison needs.

The rule of thumb (`core.plan.rules.evaluation_samples`: 30 points: 10 items, 10: 100, 3: 1,000, 1: 10,000) says that
a gap a third as large needs ten times the items. Behind it stands the power calculation: the standard error of a
difference falls with the root of n, so n = (z_a + z_b)^2 * variance / gap^2; about 10 for a factor of 3, since 3
squared is 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from idiolect.core.errors import BadInput
from idiolect.core.plan.rules import evaluation_samples
from idiolect.evals.stats.swap import LEAST


@dataclass(frozen=True, slots=True)
class Advice:
    """`items` to see `gap` with `power` at a two-sided significance of `alpha`; `rule` is the rule of thumb's answer.
    `paired`: both systems answer the same items, whose scores correlate by `correlation`."""

    gap: float
    items: int
    rule: int
    alpha: float
    power: float
    paired: bool
    correlation: float

    def __str__(self) -> str:
        how = f"paired, correlation {self.correlation:.2f}" if self.paired else "separate items"
        return (
            f"a difference of {self.gap:.3g} needs about {self.items:,} items for a power of {self.power:.0%} "
            f"({how}); the rule of thumb says {self.rule:,}"
        )


def advise(
    gap: float,
    accuracy: float = 0.5,
    *,
    correlation: float = 0.0,
    paired: bool = True,
    alpha: float = 0.05,
    power: float = 0.8,
) -> Advice:
    """Items to tell accuracies `accuracy` and `accuracy + gap` apart (right or wrong per item)."""
    if not 0 < gap <= 1:
        raise BadInput(f"the gap is {gap}", hint="give a difference of two scores, in (0, 1]")
    if not (0 < alpha < 1 and 0 < power < 1 and -1 <= correlation < 1):
        raise BadInput("alpha and power must be in (0, 1), and correlation in [-1, 1)", hint="try 0.05, 0.8 and 0.5")
    other = accuracy + gap if accuracy + gap <= 1 else accuracy - gap
    if not (0 <= accuracy <= 1 and 0 <= other <= 1):
        raise BadInput(f"accuracies {accuracy} and {other} must be in [0, 1]", hint="give a smaller gap")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    one, two = accuracy * (1 - accuracy), other * (1 - other)
    shared = 2 * correlation * math.sqrt(one * two) if paired else 0.0
    items = math.ceil(z * z * max(one + two - shared, 0.0) / gap**2)
    return Advice(gap, max(items, 2), evaluation_samples(gap), alpha, power, paired, correlation if paired else 0.0)


def resolves(
    n: int, accuracy: float = 0.5, *, correlation: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The other way round: the difference from `accuracy` that `n` items, answered by both systems, tell with `power`.
    A system that is always right or always wrong is taken for one that errs on half an item; and no n items tell a
    difference of fewer than `swap.LEAST` of them."""
    if n < 1 or not 0 <= accuracy <= 1:
        raise BadInput(f"{n} items at an accuracy of {accuracy}", hint="give 1 or more, and a share")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    p = min(max(accuracy, 0.5 / n), 1 - 0.5 / n)
    gap = z * math.sqrt(2 * p * (1 - p) * (1 - min(correlation, 1.0)) / n)
    return min(1.0, max(gap, LEAST / n))
