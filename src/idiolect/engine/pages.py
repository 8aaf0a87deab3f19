"""The page allocator of the KV cache.

A page is `page_size` consecutive token slots in every layer (Kwon et al. 2023, PagedAttention, arXiv:2309.06180).
Attention on a CPU reads a context fastest when it is one contiguous view, so the allocator tries to keep the pages of
a sequence in a row: it places a new sequence where it has room to grow, leaves that room alone while there is other
space, and moves a sequence that has outgrown its place when a large enough run is free. None of this is a promise:
when memory is tight, any free page serves, and the reader gathers instead. Several sequences may hold one page
(engine/prefix.py); it is free again when none does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Move = Callable[[list[int], list[int]], None]  # copy the content of the old pages to as many new ones


@dataclass(slots=True, eq=False)
class Lease:
    """The pages of one sequence, in the order of its positions. `contiguous` says that they are consecutive."""

    pages: list[int] = field(default_factory=list)
    contiguous: bool = True
    room: tuple[int, int] = (0, 0)  # pages [a, b) that others avoid while they can

    def __len__(self) -> int:
        return len(self.pages)


class Pages:
    """`count` pages. Not thread-safe: the engine's step owns it."""

    def __init__(self, count: int, move: Move | None = None) -> None:
        self.count = count
        self.free = count
        self._taken: NDArray[np.bool_] = np.zeros(count, dtype=np.bool_)
        self._held: NDArray[np.int32] = np.zeros(count, dtype=np.int32)  # leases that hold a page
        self._wished: NDArray[np.int32] = np.zeros(count, dtype=np.int32)  # how many leases hope to grow here
        self._move = move

    def hold(self, pages: list[int]) -> None:
        """One more lease holds these pages."""
        self._held[pages] += 1

    def drop(self, pages: list[int]) -> list[int]:
        """One lease less holds these pages; returns those that none holds now. They are not free before `reclaim`."""
        self._held[pages] -= 1
        return [page for page in pages if not self._held[page]]

    def reclaim(self, pages: list[int]) -> None:
        """These pages, which nobody holds, are free."""
        self._taken[pages] = False
        self.free += len(pages)

    def holders(self, page: int) -> int:
        return int(self._held[page])

    def grow(self, lease: Lease, n: int, room: int = 0) -> bool:
        """Add `n` pages to `lease`, hoping for `room` more later. False, and nothing changed, when fewer are free."""
        if n > self.free:
            return False
        if n <= 0:
            return True
        if not lease.pages:
            self._place(lease, n, room)
        elif not (lease.contiguous and self._extend(lease, n)) and not self._relocate(lease, n):
            lease.pages += self._mark(np.flatnonzero(~self._taken)[:n])
            lease.contiguous = False
        return True

    def release(self, lease: Lease) -> None:
        """Free every page of `lease` that nobody else holds; a second call does nothing."""
        self.reclaim(self.drop(lease.pages))
        self.end(lease)

    def end(self, lease: Lease) -> None:
        """Empty a lease whose pages were dropped."""
        self._wish(lease, (0, 0))
        lease.pages, lease.contiguous = [], True

    def _mark(self, pages: NDArray[np.intp]) -> list[int]:
        self._taken[pages] = True
        self._held[pages] = 1
        self.free -= len(pages)
        return [int(p) for p in pages]

    def _wish(self, lease: Lease, room: tuple[int, int]) -> None:
        self._wished[lease.room[0] : lease.room[1]] -= 1
        self._wished[room[0] : room[1]] += 1
        lease.room = room

    def _extend(self, lease: Lease, n: int) -> bool:
        begin = lease.pages[-1] + 1
        if begin + n > self.count or self._taken[begin : begin + n].any():
            return False
        lease.pages += self._mark(np.arange(begin, begin + n))
        return True

    def _relocate(self, lease: Lease, n: int) -> bool:
        """Move to a free run with room to double, like a growing array: the copies stay linear in the length."""
        have = len(lease.pages)
        alone = self._move is not None and bool((self._held[lease.pages] == 1).all())
        begin = self._run(have + n, have) if alone else None
        if begin is None or self._move is None:
            return False
        old = lease.pages
        new = self._mark(np.arange(begin, begin + have + n))
        self._move(old, new[:have])
        self.reclaim(self.drop(old))
        lease.pages, lease.contiguous = new, True
        self._wish(lease, (begin + have + n, min(begin + 2 * have + n, self.count)))
        return True

    def _place(self, lease: Lease, n: int, room: int) -> None:
        begin = self._run(n, room)
        if begin is None:
            lease.pages = self._mark(np.flatnonzero(~self._taken)[:n])
            lease.contiguous = lease.pages == list(range(lease.pages[0], lease.pages[0] + n))
            return
        lease.pages, lease.contiguous = self._mark(np.arange(begin, begin + n)), True
        self._wish(lease, (begin + n, min(begin + n + room, self.count)))

    def _run(self, n: int, room: int) -> int | None:
        """Where a run of `n` free pages starts: the smallest unwished one that also has `room`, else the largest
        unwished one, else the largest of all; None when no run is long enough."""
        for free in (~self._taken & (self._wished == 0), ~self._taken):
            edges = np.diff(np.concatenate(([0], free.view(np.int8), [0])))
            starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
            sizes = ends - starts
            if (fits := np.flatnonzero(sizes >= n + room)).size:
                return int(starts[fits[np.argmin(sizes[fits])]])
            if sizes.size and sizes.max() >= n:
                return int(starts[np.argmax(sizes)])
        return None
