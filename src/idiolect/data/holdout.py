"""Training and validation: an item belongs to one of them by the hash of what it says.

So the parts stay the same when the file is sorted, shuffled or grows, and equal items lie on one side.
"""

from __future__ import annotations

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.data.items import Items, Subset


def split(items: Items, fraction: float, seed: int = 0) -> tuple[Subset, Subset]:
    """(training, validation) with about `fraction` of the items in the second, neither of them empty."""
    if not 0 < fraction < 1:
        raise BadInput(f"the validation part is {fraction}", hint="give a number between 0 and 1")
    drawn = position(items.hashes, seed)
    held = drawn < fraction
    if held.all() or not held.any():  # few items: the nearest to the border changes sides
        if len(np.unique(drawn)) < 2:
            raise BadInput("there are too few different examples to hold any out", hint="give more, or a file of them")
        held = drawn <= drawn.min() if not held.any() else drawn < drawn.max()
    return Subset(items, np.flatnonzero(~held)), Subset(items, np.flatnonzero(held))


def position(hashes: np.ndarray, seed: int) -> np.ndarray:
    """[I] in [0, 1), uniform, from the hashes and the seed alone (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = hashes.astype(np.uint64) ^ np.uint64(Streams(seed).integer("data", "split"))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53
