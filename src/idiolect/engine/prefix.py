"""Starting from an equal beginning whose keys and values are in memory.

A block is a page of tokens whose keys and values are computed. Its name is a hash of (the name of the block before it,
its tokens), and the first one's parent is the adapter that computed it, so a name stands for everything before it (the
chained hashes of vLLM's automatic prefix caching; a radix tree over the same pages: Zheng et al. 2024, SGLang,
arXiv:2312.07104). Sequences with the same beginning (choices of one prompt, turns of a conversation, questions about
one document) hold the same pages, counted in `Pages`. Pages that nobody holds stay readable, least recently used
first out. The page in which two sequences part is copied as far as they agree, since each writes its own end.

A cache whose reader wants one contiguous view of a context (`Slots.shares` is False) copies every page instead of
holding it: the same blocks, found and let go alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from idiolect.engine.pages import Lease, Pages
from idiolect.engine.sequence import Sequence

WORTH = 16  # shorter beginnings are computed: a copy would save nothing that can be measured
LOOK = 64  # blocks after one parent that are searched for the longest common beginning, newest first


def common(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Number of equal tokens at the beginning."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    at = int(differ.argmax()) if n else 0
    return at if n and differ[at] else n


def root(adapter: str | None) -> bytes:
    """The name before a first block: keys and values depend on the adapter that computed them."""
    return blake2b(b"" if adapter is None else b"\1" + adapter.encode(), digest_size=16).digest()


def name(parent: bytes, tokens: NDArray[np.int64]) -> bytes:
    return blake2b(parent + tokens.astype("<i8").tobytes(), digest_size=16).digest()


@dataclass(slots=True, eq=False)
class Block:
    """Tokens [n] whose keys and values fill the first n places of a page; n < page_size at the end of a text."""

    page: int
    parent: bytes
    key: bytes
    tokens: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """A beginning in memory: whole pages, and the first `extra` tokens of one more page."""

    pages: list[int]
    tail: int | None = None
    extra: int = 0


class PrefixCache:
    """The blocks of all pages. Not thread-safe: the engine's step owns it."""

    def __init__(self, pages: Pages, page_size: int, *, on: bool = True) -> None:
        self.on = on
        self._pages = pages
        self._size = page_size
        self._whole: dict[bytes, Block] = {}
        self._after: dict[bytes, dict[int, Block]] = {}  # parent -> its blocks by page, oldest first
        self._at: dict[int, Block] = {}  # page -> its block
        self._idle: dict[int, Block] = {}  # pages that nobody holds, least recently used first

    @property
    def reclaimable(self) -> int:
        """Pages that `evict` can free."""
        return len(self._idle)

    # ------------------------------------------------------------------------------------------- pages

    def hold(self, pages: list[int]) -> None:
        """Count one more holder of each of these pages."""
        self._pages.hold(pages)
        for page in pages:
            self._idle.pop(page, None)

    def release(self, lease: Lease) -> None:
        """Give the pages of a lease back. Those with a block stay readable until somebody needs them, the end of a
        text the first to go: without its beginning an end is of no use."""
        self.drop(lease.pages)
        self._pages.end(lease)

    def drop(self, pages: list[int]) -> None:
        loose = self._pages.drop(pages)
        free = [page for page in loose if page not in self._at]
        for page in reversed(loose):
            if page in self._at:
                self._idle[page] = self._at[page]
        self._pages.reclaim(free)

    def evict(self, pages: int) -> bool:
        """Free idle pages until `pages` are free; False when that is not enough."""
        while self._pages.free < pages and self._idle:
            page, block = next(iter(self._idle.items()))
            del self._idle[page]
            self._forget(block)
            self._pages.reclaim([page])
        return self._pages.free >= pages

    def clear(self) -> None:
        """Forget every block; pages that are held go on serving their holders."""
        self._whole.clear()
        self._after.clear()
        self._at.clear()
        self._pages.reclaim(list(self._idle))
        self._idle.clear()

    def moved(self, old: list[int], new: list[int]) -> None:
        """The allocator moved pages: their blocks go with them."""
        for a, b in zip(old, new, strict=True):
            if (block := self._at.pop(a, None)) is not None:
                del self._after[block.parent][a]
                self._after[block.parent][b] = self._at[b] = block
                block.page = b

    # ------------------------------------------------------------------------------------------ blocks

    def publish(self, seq: Sequence, *, end: bool = False) -> None:
        """Name the pages that a sequence has filled; `end`: the page at the end of its tokens too, as far as it is."""
        if not self.on:
            return
        size, done = self._size, seq.computed // self._size
        if done > seq.published or end:
            tokens = seq.array()
            keys = self._keys(seq, tokens, done)
            for i in range(seq.published, done):
                self._add(Block(seq.lease.pages[i], keys[i], keys[i + 1], tokens[i * size : (i + 1) * size]))
            seq.published = done
            if end and seq.computed > done * size:
                part = tokens[done * size : seq.computed]
                self._add(Block(seq.lease.pages[done], keys[done], b"", part))

    def find(self, seq: Sequence, most: int) -> Found:
        """The longest beginning of a sequence in memory, at most `most` tokens; it counts as used now."""
        size, tokens = self._size, seq.array()
        pages: list[int] = []
        keys = self._keys(seq, tokens, most // size) if self.on else []
        for key in keys[1 : most // size + 1]:
            block = self._whole.get(key)
            if block is None:
                break
            pages.append(block.page)
        tail, extra = None, 0
        if keys:
            begin = len(pages) * size
            rest = tokens[begin : min(begin + size, most)]
            for block in islice(reversed(self._after.get(keys[len(pages)], {}).values()), LOOK):
                if (n := common(rest, block.tokens)) > extra:
                    tail, extra = block.page, n
        if len(pages) * size + extra < WORTH:
            return Found([])
        for page in reversed([*pages, *([] if tail is None else [tail])]):
            if page in self._idle:
                self._idle[page] = self._idle.pop(page)
        return Found(pages, tail, extra)

    def _keys(self, seq: Sequence, tokens: NDArray[np.int64], count: int) -> list[bytes]:
        """The names before and after the first `count` pages of a sequence; kept with it, as tokens are only added."""
        keys = seq.keys
        if not keys:
            keys.append(root(seq.adapter))
        while len(keys) <= count:
            begin = (len(keys) - 1) * self._size
            keys.append(name(keys[-1], tokens[begin : begin + self._size]))
        return keys

    def _add(self, block: Block) -> None:
        whole = bool(block.key)
        if whole and block.key in self._whole:
            return  # somebody computed the same at the same time; this page is free when its holder goes
        if (old := self._at.get(block.page)) is not None:
            self._forget(old)
        self._at[block.page] = block
        self._after.setdefault(block.parent, {})[block.page] = block
        if whole:
            self._whole[block.key] = block

    def _forget(self, block: Block) -> None:
        del self._at[block.page]
        after = self._after[block.parent]
        del after[block.page]
        if not after:
            del self._after[block.parent]
        if block.key:
            del self._whole[block.key]


def closest(seq: Sequence, running: Iterable[Sequence]) -> tuple[int, int]:
    """Among running sequences' prompts: the longest equal beginning that is computed, and the longest that will be
    once the prompts are done."""
    tokens, ready, coming = seq.array(), 0, 0
    for other in running:
        if other.adapter == seq.adapter:
            n = common(tokens, other.head)
            coming = max(coming, n)
            ready = max(ready, min(n, other.computed))
    return ready, coming
