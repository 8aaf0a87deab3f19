"""An immutable inverted file over some chunks: for each term, which slots hold it and how often.

New chunks make a small segment; small segments are merged into larger ones (a logarithmic method, as in Lucene and
in Bentley and Saxe 1980), so that adding stays cheap and a search looks at few segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counted = tuple[NDArray[np.uint64], NDArray[np.uint16]]  # distinct terms [T], their counts [T]


@dataclass(frozen=True, slots=True)
class Segment:
    """P postings of T terms, grouped by term. Postings of `terms[i]` are rows `bounds[i]:bounds[i+1]`."""

    terms: NDArray[np.uint64]  # [T] sorted
    bounds: NDArray[np.int64]  # [T+1]
    slots: NDArray[np.int32]  # [P]
    counts: NDArray[np.uint16]  # [P]

    @classmethod
    def build(cls, first: int, chunks: Sequence[Counted]) -> Segment:
        """Index `chunks` as slots `first`, `first + 1`, ..."""
        lengths = [len(terms) for terms, _ in chunks]
        slots = np.repeat(np.arange(first, first + len(chunks), dtype=np.int32), lengths)
        terms = np.concatenate([t for t, _ in chunks]) if chunks else np.empty(0, np.uint64)
        counts = np.concatenate([c for _, c in chunks]) if chunks else np.empty(0, np.uint16)
        return cls._grouped(terms, slots, counts)

    @classmethod
    def merge(cls, parts: Sequence[Segment], alive: NDArray[np.bool_]) -> Segment:
        """One segment of all postings whose slot is still alive ([slots] bool)."""
        terms = np.concatenate([np.repeat(p.terms, np.diff(p.bounds)) for p in parts])
        slots = np.concatenate([p.slots for p in parts])
        counts = np.concatenate([p.counts for p in parts])
        keep = alive[slots]
        return cls._grouped(terms[keep], slots[keep], counts[keep])

    @classmethod
    def _grouped(cls, terms: NDArray[np.uint64], slots: NDArray[np.int32], counts: NDArray[np.uint16]) -> Segment:
        order = np.argsort(terms, kind="stable")
        unique, starts = np.unique(terms[order], return_index=True)
        return cls(unique, np.append(starts, len(terms)).astype(np.int64), slots[order], counts[order])

    def postings(self, term: np.uint64) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """The slots [P'] that hold `term` and its counts there [P']; empty when none does."""
        i = int(np.searchsorted(self.terms, term))
        if i == len(self.terms) or self.terms[i] != term:
            return self.slots[:0], self.counts[:0]
        rows = slice(self.bounds[i], self.bounds[i + 1])
        return self.slots[rows], self.counts[rows]

    def __len__(self) -> int:
        return len(self.slots)
