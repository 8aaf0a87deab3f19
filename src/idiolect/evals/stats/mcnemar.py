"""Two systems, right or wrong on the same items: only the items on which they differ say anything.

McNemar 1947, Psychometrika 12, in its exact form: under equality each of them falls either way like a coin. The
interval is Bonett and Price's (2012, J. Educational and Behavioral Statistics 37): an item is added to either side, so
that it has a width where nothing differs, and covers where a bootstrap of few differing items does not.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from idiolect.core.errors import BadInput


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p-value of `wins` against `losses`; 1 where nothing differs."""
    if wins < 0 or losses < 0:
        raise BadInput(f"{wins} wins and {losses} losses", hint="give counts of items")
    n, less = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(less + 1)) / 2**n)


def difference(wins: int, losses: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of (wins - losses) / n."""
    if not 0 <= wins + losses <= n or n == 0:
        raise BadInput(f"{wins} wins and {losses} losses of {n} items", hint="give at least one item")
    up, down = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    gap = up - down
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((up + down - gap * gap) / (n + 2))
    return max(-1.0, gap - half), min(1.0, gap + half)
