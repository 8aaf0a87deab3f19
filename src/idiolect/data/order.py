"""The order of items: for each epoch a list of numbers, a pure function of the seed and the epoch.

Every order has the same length in every epoch, so that the number of steps is known before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams


class Order(Protocol):
    def __len__(self) -> int:
        """Items in an epoch."""
        ...

    def epoch(self, number: int) -> np.ndarray:
        """[len] int64 item numbers of an epoch (from 0), in the order of training."""
        ...


class Sequential:
    """Items as they stand, every epoch."""

    def __init__(self, items: int) -> None:
        self.items = items

    def __len__(self) -> int:
        return self.items

    def epoch(self, number: int) -> np.ndarray:
        return np.arange(self.items)


class Shuffled:
    """Every item once an epoch, in a new order each time."""

    def __init__(self, items: int, seed: int) -> None:
        self.items, self.streams = items, Streams(seed, ("data", "shuffle"))

    def __len__(self) -> int:
        return self.items

    def epoch(self, number: int) -> np.ndarray:
        return self.streams.numpy(number).permutation(self.items)


class Balanced:
    """As many items of every class as the smallest has: a 99 % class is 99 % right for nothing. The larger classes are
    sampled anew each epoch, without replacement."""

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        self.members = [np.flatnonzero(labels == value) for value in np.unique(labels)]
        self.each = min(map(len, self.members))
        self.streams = Streams(seed, ("data", "balance"))

    def __len__(self) -> int:
        return self.each * len(self.members)

    def epoch(self, number: int) -> np.ndarray:
        random = self.streams.numpy(number)
        chosen = [random.permutation(members)[: self.each] for members in self.members]
        return random.permutation(np.concatenate(chosen))


class Mixed:
    """Several data sets at once, by weight (Caruana 1997, multi-task learning). Items are numbered through as in
    `Joined`. An epoch has as many items as the sets together; each set gives its share, taking up where it stopped in
    the epoch before, so that a small set is repeated evenly and a large one is used in full before it is."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        if len(sizes) != len(weights) or not sizes or min(weights) <= 0 or min(sizes) < 1:
            raise BadInput("a mixture needs one weight above 0 for each data set", hint="give as many as there are")
        self.starts = np.cumsum([0, *sizes])
        self.sizes = list(sizes)
        total = int(self.starts[-1])
        cuts = np.rint(np.cumsum([0.0, *weights]) / sum(weights) * total).astype(np.int64)
        self.shares = np.diff(cuts).tolist()
        self.streams = Streams(seed, ("data", "mixture"))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def epoch(self, number: int) -> np.ndarray:
        parts = [
            self._take(which, number * share, share) + self.starts[which] for which, share in enumerate(self.shares)
        ]
        return self.streams.numpy("order", number).permutation(np.concatenate(parts))

    def _take(self, which: int, begin: int, count: int) -> np.ndarray:
        """`count` items of a set's endless shuffled stream from `begin` on."""
        size = self.sizes[which]
        rounds = range(begin // size, (begin + count - 1) // size + 1) if count else range(0)
        stream = [self.streams.numpy("set", which, r).permutation(size) for r in rounds]
        whole = np.concatenate(stream) if stream else np.empty(0, np.int64)
        return whole[begin % size :][:count]
