"""Keys and values in pages on a GPU: what the kernels read in place, and the `State` of a step that torch computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.cuda import attention
from idiolect.cuda.program import Cache, Feed, mixed
from idiolect.engine.kv import KVCache, PagedState
from idiolect.engine.pages import Lease
from idiolect.nn.batch import StateSpec


class CudaKV(KVCache):
    """Pages that several sequences may hold together: the kernels read through page numbers."""

    shares = True

    def __init__(
        self, specs: Sequence[StateSpec], pages: int, page_size: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(specs, pages, page_size, dtype=dtype, device=device)
        self.layers = Cache(self.k, self.v, page_size)


class CudaState(PagedState):
    """A batch's caches where the model's own module computes (adapters): attention goes through the same kernels."""

    def __init__(self, cache: CudaKV, leases: Sequence[Lease], starts: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(cache, leases, starts, counts)
        pages = [page for lease in leases for page in lease.pages]
        begins, at = [], 0
        for lease in leases:
            begins.append(at)
            at += len(lease.pages)
        single = all(count == 1 for count in counts)
        flat = [] if single else attention.blocks_of(list(counts), list(starts))
        numbers = [*begins, *self.lengths, *flat, *pages]
        room = torch.tensor(numbers, dtype=torch.int32, device=cache.device)
        n, b = len(leases), len(flat)
        none = room[:0]
        self._page = cache.page_size
        self._feed = Feed(
            *(none, none, none),
            starts=room[:n],
            lengths=room[n : 2 * n],
            blocks=None if single else room[2 * n : 2 * n + b].view(-1, 4),
            table=room[2 * n + b :],
            parts=attention.parts_for(n, cache.k[0].shape[1], max(self.lengths)) if single else 1,
        )

    def attend(self, q: Tensor, layer: int, scale: float, window: int | None, softcap: float | None) -> Tensor:
        """Causal attention of q [N, H, Dh] over everything stored -> [N, H, Dh]."""
        n, heads, dim = q.shape
        k, v = self.cache.k[layer], self.cache.v[layer]
        flat = q.reshape(n, heads * dim)
        out = mixed(flat, k, v, self._feed, self._page, heads=heads, scale=scale, window=window, softcap=softcap)
        return out.view(n, heads, dim)
