"""How much a perturbation moved a system: the paired difference, and how many items went over to the other side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.paired import Difference, paired
from idiolect.evals.stats.wilson import wilson


@dataclass(frozen=True, slots=True)
class Change:
    """`difference` is perturbed minus plain. `flipped` is the share of items whose score changed at all: a system may
    flip many items and keep its mean."""

    name: str
    difference: Difference
    flipped: Estimate

    def __str__(self) -> str:
        return f"{self.name}: {self.difference.estimate}, flipped {self.flipped}"


def change(name: str, plain: ArrayLike, perturbed: ArrayLike, *, seed: int = 0) -> Change:
    """Compare the item scores [n] of one system without and with a perturbation, on the same items."""
    x, y = np.asarray(plain, np.float64), np.asarray(perturbed, np.float64)
    difference = paired(y, x, seed=seed)
    both = np.isfinite(x) & np.isfinite(y)
    return Change(name, difference, wilson(int((x[both] != y[both]).sum()), int(both.sum())))
