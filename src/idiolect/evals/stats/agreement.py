"""Do two raters (a judge and people, a judge and itself) agree more than chance would?

Cohen 1960, "A coefficient of agreement for nominal scales"; with weights for ordered scores, Cohen 1968.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.figure import figure


@dataclass(frozen=True, slots=True)
class Agreement:
    """`raw` is the share of equal ratings, `kappa` how far it lies above chance (1 perfect, 0 chance)."""

    raw: Estimate
    kappa: Estimate


def kappa(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    *,
    weights: Literal["none", "linear", "quadratic"] = "none",
    draws: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Agreement of two raters over the same items. With weights, ratings must be numbers: a near miss counts less."""
    if len(a) != len(b) or not a:
        raise BadInput(f"{len(a)} and {len(b)} ratings", hint="both raters must rate the same items, at least one")
    names = sorted({*a, *b}, key=lambda v: (str(type(v)), v) if weights == "none" else v)  # type: ignore[arg-type,return-value]
    index = {name: i for i, name in enumerate(names)}
    pairs = np.array([(index[x], index[y]) for x, y in zip(a, b, strict=True)], dtype=np.float64)
    if weights == "none":
        cost = 1.0 - np.eye(len(names))
    else:
        at = np.array(names, dtype=np.float64)
        cost = abs(at[:, None] - at[None, :]) ** (1 if weights == "linear" else 2)

    def statistic(rows: np.ndarray) -> float:
        i, j = rows[:, 0].astype(int), rows[:, 1].astype(int)
        seen = cost[i, j].mean()
        first, second = np.bincount(i, minlength=len(names)), np.bincount(j, minlength=len(names))
        chance = first @ cost @ second / len(rows) ** 2
        return float(1 - seen / chance) if chance > 0 else 1.0

    equal = pairs[:, 0] == pairs[:, 1]
    return Agreement(figure(equal, draws=draws, seed=seed), bootstrap(pairs, statistic, draws=draws, seed=seed))
