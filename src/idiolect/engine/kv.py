"""Keys and values in pages, and the `State` through which attention reads and extends them.

Layout: one tensor [slots, Hkv, Dh] for K and one for V per layer, slot = page * page_size + offset. A slot row is
contiguous, so storing new tokens is one row copy, gathering a scattered context is one `index_select`, and a context
whose pages are consecutive is a view [Hkv, T, Dh] that costs nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idiolect.engine.pages import Lease
from idiolect.nn.batch import StateSpec


class Slots(ABC):
    """Pages of slots: what the scheduler knows of a cache. Slot = page * page_size + offset. `shares`: the reader takes
    pages wherever they lie, so that sequences may hold pages together; else each has its own, in a row if it can be."""

    shares = False

    def __init__(self, pages: int, page_size: int) -> None:
        self.pages, self.page_size = pages, page_size

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Of all pages."""

    def slots(self, lease: Lease, begin: int, end: int) -> range | list[int]:
        """Slots of positions [begin, end) of a lease: a range when they are consecutive."""
        size = self.page_size
        if begin == end:
            return range(0)
        if lease.contiguous:
            first = lease.pages[0] * size
            return range(first + begin, first + end)
        return [lease.pages[p // size] * size + p % size for p in range(begin, end)]

    @abstractmethod
    def copy(self, source: range | list[int], target: range | list[int]) -> None:
        """Copy rows between slots of different sequences, in every layer."""

    @abstractmethod
    def write(self, slots: range | list[int], keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Store keys and values [n, Hkv, Dh] of each layer that no token of this model computed (a learned prefix)."""

    def move(self, old: list[int], new: list[int]) -> None:
        """Copy whole pages (the allocator's `Move`)."""
        size = self.page_size
        expand = [[p * size + i for p in pages for i in range(size)] for pages in (old, new)]
        self.copy(expand[0], expand[1])


class KVCache(Slots):
    """The memory: `pages` pages of `page_size` tokens for every layer of `specs`. Zeroed, so that padding rows which
    nobody has written are finite."""

    def __init__(
        self, specs: Sequence[StateSpec], pages: int, page_size: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(pages, page_size)
        self.device = device
        slots = pages * page_size
        self.k = [zeros((slots, s.kv_heads, s.head_dim), dtype, device) for s in specs]
        self.v = [zeros((slots, s.kv_heads, s.head_dim), dtype, device) for s in specs]
        self.heads_k = [k.transpose(0, 1) for k in self.k]  # views [Hkv, slots, Dh]: made once, a step takes thousands
        self.heads_v = [v.transpose(0, 1) for v in self.v]

    @staticmethod
    def bytes_per_page(specs: Sequence[StateSpec], page_size: int, dtype: torch.dtype) -> int:
        return page_size * sum(s.bytes_per_token(dtype.itemsize) for s in specs)

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.k, *self.v))

    def copy(self, source: range | list[int], target: range | list[int]) -> None:
        """Copy rows between slots of different sequences, in every layer."""
        with torch.inference_mode():
            a, b = self.index(source), self.index(target)
            for cache in (*self.k, *self.v):
                cache[b] = cache[a] if isinstance(b, slice) else cache[a].clone()

    def write(self, slots: range | list[int], keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        with torch.inference_mode():
            index = self.index(slots)
            for layer, (k, v) in enumerate(zip(keys, values, strict=True)):
                self.k[layer][index] = k.to(self.k[layer].dtype)
                self.v[layer][index] = v.to(self.v[layer].dtype)

    def index(self, slots: range | list[int]) -> slice | Tensor:
        if isinstance(slots, range):
            return slice(slots.start, slots.stop)
        return torch.tensor(slots, dtype=torch.int64, device=self.device)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.zeros`, but on a CPU the operating system backs only the pages that are touched."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


class PagedState:
    """The caches as one batch sees them: segment i is a sequence whose first `starts[i]` positions are stored and
    which brings `counts[i]` new ones."""

    def __init__(self, cache: KVCache, leases: Sequence[Lease], starts: Sequence[int], counts: Sequence[int]) -> None:
        self.cache = cache
        self._leases = leases
        self._lengths = tuple(s + c for s, c in zip(starts, counts, strict=True))
        parts = [cache.slots(e, s, s + c) for e, s, c in zip(leases, starts, counts, strict=True)]
        self._new = parts[0] if len(parts) == 1 else [slot for part in parts for slot in part]
        self._write = cache.index(self._new)
        self._read: dict[int, slice | Tensor] = {}
        self._pad: Tensor | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        return self._lengths

    def extend(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Store `k`, `v` [N, Hkv, Dh] of this batch's tokens."""
        if isinstance(self._write, slice):
            self.cache.k[layer][self._write].copy_(k)
            self.cache.v[layer][self._write].copy_(v)
        else:
            self.cache.k[layer].index_copy_(0, self._write, k)
            self.cache.v[layer].index_copy_(0, self._write, v)

    def context(self, layer: int, segment: int) -> tuple[Tensor, Tensor]:
        """[Hkv, T, Dh] of one segment: a view when its pages are consecutive, else a gathered copy."""
        where = self._read.get(segment)
        if where is None:
            where = self.cache.index(self.cache.slots(self._leases[segment], 0, self._lengths[segment]))
            self._read[segment] = where
        if isinstance(where, slice):
            length = where.stop - where.start
            return (
                self.cache.heads_k[layer].narrow(1, where.start, length),
                self.cache.heads_v[layer].narrow(1, where.start, length),
            )
        return self.cache.k[layer][where].transpose(0, 1), self.cache.v[layer][where].transpose(0, 1)

    def padded(self, layer: int) -> tuple[Tensor, Tensor]:
        """[S, Hkv, Tmax, Dh] of all segments, gathered; rows past a segment's length repeat slot 0."""
        if self._pad is None:
            longest = max(self._lengths)
            table = torch.zeros(len(self._lengths), longest, dtype=torch.int64)
            for i, (lease, n) in enumerate(zip(self._leases, self._lengths, strict=True)):
                slots = self.cache.slots(lease, 0, n)
                table[i, :n] = (
                    torch.arange(slots.start, slots.stop) if isinstance(slots, range) else torch.tensor(slots)
                )
            self._pad = table.to(self.cache.device)
        shape = self._pad.shape
        flat = self._pad.view(-1)
        k = self.cache.k[layer].index_select(0, flat).unflatten(0, shape)
        v = self.cache.v[layer].index_select(0, flat).unflatten(0, shape)
        return k.transpose(1, 2), v.transpose(1, 2)
