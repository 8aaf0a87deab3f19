"""The n-grams of a test set, and which of them a stream of training text holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.evals.contamination.words import Block


@dataclass(frozen=True, slots=True)
class Place:
    """Where training text was found: a file, the line (or row) of the record, and the word within it, from 0."""

    file: str
    line: int
    word: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (word {self.word})"


class Grams:
    """The distinct n-grams of one length in a block of test text. `see` takes training blocks; `place[k]` is then
    where gram k was first seen, or None. `at` [G] are the words of the test block at which an n-gram begins, `which`
    [G] the distinct gram that each is."""

    def __init__(self, n: int, block: Block, at: NDArray[np.int64]) -> None:
        self.n, self.block, self.at = n, block, at
        hashes = block.hashes(n, at)
        names: dict[bytes, int] = {}
        self.which = np.array([names.setdefault(block.gram(n, i), len(names)) for i in at.tolist()], np.int64)
        self.texts = tuple(names)
        self.place: list[Place | None] = [None] * len(names)
        # several grams may share a hash: they stand under it together
        self._known, first = np.unique(hashes, return_inverse=True)
        self._under: list[dict[bytes, int]] = [{} for _ in self._known]
        for row, gram in zip(first.tolist(), self.which.tolist(), strict=True):
            self._under[row][self.texts[gram]] = gram
        self._open = np.ones(len(self._known), bool)  # hashes under which a gram has not been seen yet
        self._bits = min(26, max(12, (16 * len(self._known)).bit_length()))
        self._filter = np.zeros(1 << self._bits, bool)
        self._filter[self._short(self._known)] = True

    def _short(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        short: NDArray[np.uint64] = hashes >> np.uint64(64 - self._bits)
        return short

    def see(self, block: Block, places: Sequence[Place]) -> None:
        """Look for the grams in training text. `places[d]` is where document d of the block begins."""
        if not self._open.any():
            return
        at = block.grams(self.n)
        hashes = block.hashes(self.n, at)
        near = np.flatnonzero(self._filter[self._short(hashes)])
        rows = np.minimum(np.searchsorted(self._known, hashes[near]), len(self._known) - 1)
        same = (self._known[rows] == hashes[near]) & self._open[rows]
        for word, row in zip(at[near[same]].tolist(), rows[same].tolist(), strict=True):
            under = self._under[row]
            if not self._open[row] or (gram := under.pop(block.gram(self.n, word), None)) is None:
                continue
            document = int(block.document[word])
            begin = int(np.searchsorted(block.document, document))
            start = places[document]
            self.place[gram] = Place(start.file, start.line, start.word + word - begin)
            self._open[row] = bool(under)

    @property
    def found(self) -> NDArray[np.bool_]:
        """[G] for each n-gram of the test text, whether training text holds it."""
        seen = np.array([p is not None for p in self.place], bool)
        return seen[self.which]
