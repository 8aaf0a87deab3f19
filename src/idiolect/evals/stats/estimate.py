"""A figure and its uncertainty: what every number that an evaluation prints is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` with the interval [`low`, `high`] at confidence `level`, from `n` items. `error` is the standard error;
    `unscored` counts items that gave no score and are in none of the figures. [-inf, inf]: nothing is known of how
    sure the value is."""

    value: float
    low: float
    high: float
    n: int
    error: float = float("nan")
    level: float = 0.95
    unscored: int = 0

    @property
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def clear_of(self, value: float = 0.0) -> bool:
        """Whether the interval lies wholly on one side of `value`."""
        return self.low > value or self.high < value

    def __str__(self) -> str:
        left_out = f", {self.unscored} unscored" if self.unscored else ""
        ends = f" [{self.low:.4g}, {self.high:.4g}]" if self.bounded else ""
        return f"{self.value:.4g}{ends} (n={self.n}{left_out})"
