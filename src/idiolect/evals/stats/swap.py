"""p-values of paired differences without a distribution: were the systems equal, their names could be swapped.

Fisher's randomisation test: swap the two systems' grades on a random set of items (or groups) and see how often the
difference is at least as large. Exact for any figure, corpus figures such as BLEU among them (Noreen 1989; Riezler and
Maxwell 2005). With k items on which the grades differ no p-value is below 2 / 2^k, so that fewer than `LEAST` can never
say anything at 5 %: they get no p-value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.core.rng import Streams

Floats = NDArray[np.float64]
LEAST = 6  # 2 / 2^6 = 0.031
ALL = 12  # so few are swapped in every way there is


def sign_flips(gaps: Floats, groups: Sequence[object] | None, draws: int, seed: int) -> tuple[float, int]:
    """(p of the mean of `gaps` [n], NaN for too few; how many items or groups differ)."""
    sums = _by_group(gaps, groups)
    sums = sums[sums != 0]
    if len(sums) < LEAST:
        return float("nan"), len(sums)
    seen, slack = abs(sums.sum()), 1e-12 * max(1.0, float(abs(sums).sum()))
    far = total = 0
    for swaps in _swaps(len(sums), draws, seed):
        far += int((abs((1.0 - 2.0 * swaps) @ sums) >= seen - slack).sum())
        total += len(swaps)
    return _share(far, total, len(sums)), len(sums)


def swap(
    a: Floats,
    b: Floats,
    difference: Callable[[Floats, Floats], float],
    groups: Sequence[object] | None,
    draws: int,
    seed: int,
) -> tuple[float, int]:
    """The same for any `difference` of two tables of grades [n, k]."""
    labels = _labels(len(a), groups)
    differs = np.unique(labels[(a != b).any(1)])
    if len(differs) < LEAST:
        return float("nan"), len(differs)
    place = np.searchsorted(differs, labels)
    inside = np.isin(labels, differs)
    seen = abs(difference(a, b))
    far = total = 0
    for swaps in _swaps(len(differs), draws, seed):
        for one in swaps:
            turned = (inside & one[np.minimum(place, len(differs) - 1)].astype(bool))[:, None]
            far += abs(difference(np.where(turned, b, a), np.where(turned, a, b))) >= seen - 1e-12 * max(1.0, seen)
            total += 1
    return _share(int(far), total, len(differs)), len(differs)


def _swaps(units: int, draws: int, seed: int) -> Sequence[NDArray[np.int64]]:
    """Blocks [m, units] of 0 and 1: every way where there are few units, else `draws` random ones."""
    if units <= ALL and 2**units <= draws:
        return [(np.arange(2**units)[:, None] >> np.arange(units)) & 1]
    rng = Streams(seed).numpy("sign-flips")
    return [rng.integers(0, 2, (min(256, draws - i), units)) for i in range(0, draws, 256)]


def _share(far: int, total: int, units: int) -> float:
    """Of every way, the measured one is one; of random ones it is added, so that p is never 0."""
    every = total == 2**units
    return far / total if every else (far + 1) / (total + 1)


def _by_group(gaps: Floats, groups: Sequence[object] | None) -> Floats:
    if groups is None:
        return gaps
    sums: Floats = np.bincount(_labels(len(gaps), groups), weights=gaps).astype(np.float64)
    return sums


def _labels(n: int, groups: Sequence[object] | None) -> NDArray[np.int64]:
    """[n] the number of each item's group."""
    if groups is None:
        return np.arange(n)
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(g, len(numbers)) for g in groups], np.int64)
