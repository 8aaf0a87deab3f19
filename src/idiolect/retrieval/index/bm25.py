"""BM25 (Robertson and Zaragoza 2009) with incremental add and delete, in NumPy.

score(q, d) = sum over terms t of q:  idf(t) * f(t,d) * (k1 + 1) / (f(t,d) + k1 * (1 - b + b * |d| / avgdl))
with idf(t) = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5)), Lucene's form, which is never negative: in a folder of three
files a word of two of them must still count. N, n(t) and avgdl are exact after every add and delete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.retrieval.index.segment import Counted, Segment
from idiolect.retrieval.tokenise import STOP_WORDS, Tokeniser
from idiolect.retrieval.types import Chunk, Hit


class BM25:
    """A ranker over chunks. Not locked: the library calls it under its own lock. The stop words are dropped from
    queries only, and only beside other words: nothing is missing from the index.

    A chunk has a slot; a deleted one leaves a dead slot that the next compaction drops. A search costs one pass over
    the postings of the query's terms.
    """

    def __init__(
        self,
        tokeniser: Tokeniser | None = None,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        stop: Iterable[str] = STOP_WORDS,
    ) -> None:
        self.tokeniser = tokeniser or Tokeniser()
        self.k1, self.b = k1, b
        self._stop = self.tokeniser.count(" ".join(stop))[0]  # terms that a query does without
        self._slot: dict[str, int] = {}
        self._ids: list[str] = []
        self._lengths = np.zeros(0, np.float32)  # [slots] terms of each chunk
        self._alive = np.zeros(0, np.bool_)  # [slots]
        self._segments: list[Segment] = []
        self._total = 0.0  # terms of all alive chunks

    def __len__(self) -> int:
        return len(self._slot)

    def __contains__(self, chunk_id: str) -> bool:
        return chunk_id in self._slot

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Index title, headings and text of `chunks`; one whose id is present replaces it."""
        self.add_counted([c.id for c in chunks], [self.tokeniser.count(searchable(c)) for c in chunks])

    def add_counted(self, ids: Sequence[str], counted: Sequence[Counted]) -> None:
        """The same for terms that were counted before (the ledger keeps them)."""
        last = {chunk_id: row for row, chunk_id in enumerate(ids)}
        if len(last) != len(ids):
            counted = [counted[row] for row in last.values()]
            ids = list(last)
        if not ids:
            return
        self.delete(ids)
        first = len(self._ids)
        lengths = np.array([counts.sum(dtype=np.int64) for _, counts in counted], dtype=np.float32)
        self._ids.extend(ids)
        self._slot.update({chunk_id: first + i for i, chunk_id in enumerate(ids)})
        self._lengths = np.concatenate([self._lengths, lengths])
        self._alive = np.concatenate([self._alive, np.ones(len(ids), np.bool_)])
        self._total += float(lengths.sum(dtype=np.float64))
        self._segments.append(Segment.build(first, counted))
        self._tidy()

    def delete(self, chunk_ids: Iterable[str]) -> int:
        """Forget chunks; those not present are ignored. Returns how many there were."""
        gone = [slot for slot in (self._slot.pop(chunk_id, None) for chunk_id in chunk_ids) if slot is not None]
        if gone:
            self._alive[gone] = False
            self._total -= float(self._lengths[gone].sum(dtype=np.float64))
            if len(self._ids) > 1024 and len(self._slot) < len(self._ids) / 2:
                self._compact()
        return len(gone)

    def scores(self, query: str) -> NDArray[np.float32]:
        """[slots] the score of every slot; 0 where no term is shared or the slot is dead."""
        scores = np.zeros(len(self._ids), np.float32)
        if not self._slot:
            return scores
        mean = max(self._total / len(self._slot), 1e-9)
        weight = self.k1 * (1 - self.b + self.b * self._lengths / np.float32(mean))
        terms, repeats = self.tokeniser.count(query)
        topical = ~np.isin(terms, self._stop)
        if topical.any():  # "to be or not to be" keeps its words
            terms, repeats = terms[topical], repeats[topical]
        for term, times in zip(terms, repeats, strict=True):
            found = [p for p in (s.postings(term) for s in self._segments) if len(p[0])]
            n = sum(int(np.count_nonzero(self._alive[slots])) for slots, _ in found)
            idf = math.log1p((len(self._slot) - n + 0.5) / (n + 0.5))
            for slots, counts in found:
                f = counts.astype(np.float32)
                scores[slots] += float(times) * idf * (self.k1 + 1) * f / (f + weight[slots])
        scores[~self._alive] = 0
        return scores

    def search(self, query: str, k: int) -> list[Hit]:
        """The best `k` chunks, best first; ties go to the chunk added first. Zero scores are never returned."""
        return self.top(self.scores(query), k)

    def top(self, scores: NDArray[np.float32], k: int) -> list[Hit]:
        """The best `k` of `scores` as hits."""
        return [Hit(self._ids[slot], float(scores[slot])) for slot in best(scores, k) if scores[slot] > 0]

    def score_of(self, scores: NDArray[np.float32], chunk_id: str) -> float:
        """One chunk's place in the array that `scores` returned; 0 for an unknown one."""
        slot = self._slot.get(chunk_id)
        return 0.0 if slot is None else float(scores[slot])

    def _tidy(self) -> None:
        """Keep segment sizes falling by at least half, so that there are only log(postings) of them."""
        while len(self._segments) > 1 and len(self._segments[-2]) < 2 * len(self._segments[-1]):
            parts = [self._segments.pop(), self._segments.pop()]
            self._segments.append(Segment.merge(parts[::-1], self._alive))

    def _compact(self) -> None:
        """Drop the dead slots and number the others anew."""
        order = np.flatnonzero(self._alive)
        renumber = np.full(len(self._ids), -1, np.int32)
        renumber[order] = np.arange(len(order), dtype=np.int32)
        whole = Segment.merge(self._segments, self._alive)
        self._segments = [Segment(whole.terms, whole.bounds, renumber[whole.slots], whole.counts)]
        self._ids = [self._ids[slot] for slot in order]
        self._slot = {chunk_id: slot for slot, chunk_id in enumerate(self._ids)}
        self._lengths, self._alive = self._lengths[order], np.ones(len(order), np.bool_)


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Rows of the `k` highest scores, highest first, equal ones in the order of rows."""
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k] if k > 0 else np.inf
        rows = np.flatnonzero(scores >= edge)
    else:
        rows = np.arange(len(scores))
    return rows[np.argsort(-scores[rows], kind="stable")][: max(k, 0)]


def searchable(chunk: Chunk) -> str:
    """What the rankers read of a chunk: its title and headings, then its text."""
    return f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text
