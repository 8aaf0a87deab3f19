"""Starting from an equal beginning that is still in memory.

Sequences that start with the same tokens (choices of one prompt, turns of one conversation, candidates to score after
one instruction) have the same keys and values there. A new sequence copies them from one that is running, or from a
finished one whose pages nobody has needed yet. Copying costs about a thousandth of computing, keeps every sequence's
pages its own (so its context can stay one view), and leaves nothing to count references of. (The radix cache of
Zheng et al. 2024, SGLang, arXiv:2312.07104, shares the pages themselves.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.engine.pages import Lease, Pages
from idiolect.engine.sequence import Sequence

WORTH = 16  # shorter beginnings are computed: a copy would save nothing that can be measured


def common(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Number of equal tokens at the beginning."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    at = int(differ.argmax()) if n else 0
    return at if n and differ[at] else n


@dataclass(slots=True, eq=False)
class Kept:
    """A finished sequence's tokens and pages, readable until the pages are needed."""

    tokens: NDArray[np.int64]
    lease: Lease


class PrefixCache:
    """At most `entries` finished sequences, least recently used first."""

    def __init__(self, pages: Pages, entries: int) -> None:
        self._pages = pages
        self._entries = entries
        self._kept: list[Kept] = []

    @property
    def reclaimable(self) -> int:
        """Pages that `evict` can free."""
        return sum(len(k.lease) for k in self._kept)

    def keep(self, seq: Sequence) -> None:
        """Take over the pages of a finished sequence. One whose beginning another entry already has in full, or
        that is too short to be worth it, is released."""
        tokens = seq.array()[: seq.computed]
        for other in self._kept:
            same = common(tokens, other.tokens)
            if same == len(other.tokens) and self._entries:
                self._drop(other)
                break
            if same >= len(tokens) - 1:
                self._pages.release(seq.lease)
                return
        if self._entries == 0 or len(tokens) < WORTH:
            self._pages.release(seq.lease)
            return
        self._kept.append(Kept(tokens, seq.lease))
        seq.lease = Lease()
        while len(self._kept) > self._entries:
            self._drop(self._kept[0])

    def evict(self, pages: int) -> bool:
        """Free entries, least recently used first, until `pages` are free; False when that is not enough."""
        while self._pages.free < pages and self._kept:
            self._drop(self._kept[0])
        return self._pages.free >= pages

    def clear(self) -> None:
        while self._kept:
            self._drop(self._kept[0])

    def find(self, tokens: NDArray[np.int64]) -> tuple[Kept | None, int]:
        """The entry with the longest equal beginning, and its length."""
        best, most = None, 0
        for kept in self._kept:
            if (n := common(tokens, kept.tokens)) > most:
                best, most = kept, n
        return best, most

    def touch(self, kept: Kept) -> None:
        """Mark as just used."""
        self._kept.remove(kept)
        self._kept.append(kept)

    def _drop(self, kept: Kept) -> None:
        self._kept.remove(kept)
        self._pages.release(kept.lease)


def closest(tokens: NDArray[np.int64], running: Iterable[Sequence]) -> tuple[Sequence | None, int, int]:
    """Among running sequences' prompts: the one with the longest equal computed beginning, that length, and the longest
    equal beginning that one of them will have computed once its prompt is done."""
    best, ready, coming = None, 0, 0
    for seq in running:
        n = common(tokens, seq.head)
        coming = max(coming, n)
        if (now := min(n, seq.computed)) > ready:
            best, ready = seq, now
    return best, ready, coming
