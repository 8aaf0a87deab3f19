"""Many comparisons at once: one in twenty true zeros looks clear at 95 %, so a table of twenty has a false finding.

Holm 1979, Scandinavian Journal of Statistics 6: the smallest p-value is multiplied by m, the next by m - 1, and so on;
the chance of any false finding in the table stays below alpha whatever the tests have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Adjusted p-values in the order given, and which stay below `alpha`."""

    p: tuple[float, ...]
    alpha: float
    lost: int  # findings below alpha before the adjustment and not after it

    @property
    def clear(self) -> tuple[bool, ...]:
        return tuple(p < self.alpha for p in self.p)

    @property
    def warning(self) -> str:
        """One line for a report; empty when a single comparison was made."""
        m = len(self.p)
        if m < 2:
            return ""
        chance = 1 - (1 - self.alpha) ** m
        text = f"{m} comparisons: with no real difference, {chance:.0%} of such tables show a clear one"
        return text + (f"; {self.lost} of those found do not survive Holm's correction" if self.lost else "")


def holm(p: Sequence[float], alpha: float = 0.05) -> Adjusted:
    """Holm's step-down adjustment."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        out[i] = highest
    lost = sum(raw < alpha <= adjusted for raw, adjusted in zip(p, out, strict=True))
    return Adjusted(tuple(out), alpha, lost)
