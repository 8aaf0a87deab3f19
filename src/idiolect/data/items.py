"""Tokenised examples that training draws from, by number. A selection or a union is items again, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Items(Protocol):
    """I items. An item is one segment, or several that must stay in one micro-batch (the responses to a prompt)."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray:
        """[I] int64 tokens of each item, its segments together."""
        ...

    @property
    def hashes(self) -> np.ndarray:
        """[I] uint64 of what the item says, wherever it stands."""
        ...

    @property
    def labels(self) -> np.ndarray | None:
        """[I] float64: the number of the class, or the value; None where items have none."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty for values."""
        ...

    def segments(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids uint32 [N], counted uint8 [N]) of each segment of an item."""
        ...

    def place(self, index: int) -> str:
        """File and line of an item."""
        ...

    def reference(self, index: int) -> np.ndarray | None:
        """float32 log-probability of each segment of an item under a reference model, where it is known."""
        ...


class Subset:
    """Some items of others, in a given order."""

    def __init__(self, items: Items, index: np.ndarray) -> None:
        self.items, self.index = items, np.asarray(index, np.int64)
        self.lengths, self.hashes = items.lengths[self.index], items.hashes[self.index]
        self.labels = None if items.labels is None else items.labels[self.index]
        self.classes = items.classes

    def __len__(self) -> int:
        return len(self.index)

    def segments(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return self.items.segments(int(self.index[index]))

    def place(self, index: int) -> str:
        return self.items.place(int(self.index[index]))

    def reference(self, index: int) -> np.ndarray | None:
        return self.items.reference(int(self.index[index]))


class Joined:
    """Several items one after another; they must be of one kind."""

    def __init__(self, parts: Sequence[Items]) -> None:
        if len({(p.labels is None, p.classes) for p in parts}) != 1:
            raise ValueError("items with and without labels, or with different classes, cannot be joined")
        self.parts = tuple(parts)
        self._bounds = np.cumsum([0, *map(len, parts)])
        self.lengths = np.concatenate([p.lengths for p in parts])
        self.hashes = np.concatenate([p.hashes for p in parts])
        labels = [p.labels for p in parts if p.labels is not None]
        self.labels = np.concatenate(labels) if labels else None
        self.classes = parts[0].classes

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def segments(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        part, own = self._find(index)
        return part.segments(own)

    def place(self, index: int) -> str:
        part, own = self._find(index)
        return part.place(own)

    def reference(self, index: int) -> np.ndarray | None:
        part, own = self._find(index)
        return part.reference(own)

    def _find(self, index: int) -> tuple[Items, int]:
        number = int(np.searchsorted(self._bounds, index, "right")) - 1
        return self.parts[number], index - int(self._bounds[number])
