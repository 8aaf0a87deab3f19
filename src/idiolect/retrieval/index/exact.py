"""Exact nearest neighbours by cosine: one matrix product over unit vectors.

At the sizes that one folder has, this needs no graph: 100,000 chunks of 384 dimensions are 38 million
multiplications, tens of milliseconds, with recall 1, and adding and deleting are free of upkeep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.retrieval.index.bm25 import best
from idiolect.retrieval.types import Hit


class Exact:
    """Unit vectors by chunk id. A deleted row is overwritten by the last one, so rows are always dense."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._row: dict[str, int] = {}
        self._ids: list[str] = []
        self._matrix = np.zeros((0, dim), np.float32)  # [capacity, dim], rows up to len(self) are used

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, chunk_id: str) -> bool:
        return chunk_id in self._row

    def add(self, ids: Sequence[str], vectors: ArrayLike) -> None:
        """Add `vectors` [len(ids), dim], L2-normalised; an id that is present gets its new vector."""
        vectors = np.asarray(vectors, np.float32).reshape(len(ids), self.dim)
        new = [i for i in dict.fromkeys(ids) if i not in self._row]
        size = len(self._ids) + len(new)
        if size > len(self._matrix):
            grown = np.zeros((max(size, 2 * len(self._matrix)), self.dim), np.float32)
            grown[: len(self._ids)] = self._matrix[: len(self._ids)]
            self._matrix = grown
        for chunk_id in new:
            self._row[chunk_id] = len(self._ids)
            self._ids.append(chunk_id)
        self._matrix[[self._row[i] for i in ids]] = vectors

    def delete(self, chunk_ids: Iterable[str]) -> int:
        """Forget chunks; those not present are ignored. Returns how many there were."""
        gone = 0
        for chunk_id in chunk_ids:
            row = self._row.pop(chunk_id, None)
            if row is None:
                continue
            gone += 1
            last = self._ids.pop()
            if last != chunk_id:
                self._matrix[row] = self._matrix[len(self._ids)]
                self._ids[row], self._row[last] = last, row
        return gone

    def scores(self, vector: ArrayLike) -> NDArray[np.float32]:
        """[len(self)] cosine of every row with a unit vector [dim]."""
        scores: NDArray[np.float32] = self._matrix[: len(self._ids)] @ np.asarray(vector, np.float32).reshape(self.dim)
        return scores

    def search(self, vector: ArrayLike, k: int) -> list[Hit]:
        """The `k` nearest chunks, nearest first. Unlike a shared word, a cosine above 0 means little, so that any
        chunk may be returned; its score says how near it is."""
        return self.top(self.scores(vector), k)

    def top(self, scores: NDArray[np.float32], k: int) -> list[Hit]:
        """The best `k` of `scores` as hits."""
        return [Hit(self._ids[row], float(scores[row])) for row in best(scores, k)]

    def score_of(self, scores: NDArray[np.float32], chunk_id: str) -> float | None:
        """One chunk's place in the array that `scores` returned; None when it has no vector yet."""
        row = self._row.get(chunk_id)
        return None if row is None else float(scores[row])
