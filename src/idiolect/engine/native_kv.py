"""Keys and values in the pages that the native kernels read.

K is [layers, pages, Hkv, Dh, page_size] (transposed, so that sixteen positions are one vector), V is [layers, pages,
Hkv, page_size, Dh], both fp16: half of float32's traffic, and finer than bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from idiolect.core.errors import Unavailable
from idiolect.engine.kv import Slots
from idiolect.native.library import Cache

LANES = 16  # positions that a kernel reads at once
ALIGN = 64


class NativeKV(Slots):
    """`Unavailable` when a page is no multiple of sixteen tokens."""

    shares = True

    def __init__(self, layers: int, kv_heads: int, dim: int, pages: int, page_size: int) -> None:
        super().__init__(pages, page_size)
        if page_size % LANES:
            raise Unavailable(f"the kernels need pages of a multiple of {LANES} tokens, not {page_size}")
        self.k = zeros(layers, pages, kv_heads, dim, page_size)
        self.v = zeros(layers, pages, kv_heads, page_size, dim)
        self.struct = Cache(page_size, pages, layers, kv_heads, dim, 0, self.k.data_ptr(), self.v.data_ptr())

    @staticmethod
    def bytes_per_page(layers: int, kv_heads: int, dim: int, page_size: int) -> int:
        return 2 * layers * kv_heads * dim * page_size * 2

    @property
    def bytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def move(self, old: list[int], new: list[int]) -> None:
        self.k[:, new] = self.k[:, old]
        self.v[:, new] = self.v[:, old]

    def copy(self, source: range | list[int], target: range | list[int]) -> None:
        """Whole pages where both sides have them in the same place, single positions for the rest."""
        size, count = self.page_size, len(source)
        a, b = np.asarray(source), np.asarray(target)
        whole = 0
        if count >= size and a[0] % size == 0 and b[0] % size == 0:
            whole = count // size * size
            self.move((a[:whole:size] // size).tolist(), (b[:whole:size] // size).tolist())
        if whole < count:
            pa, ia = _split(a[whole:], size)
            pb, ib = _split(b[whole:], size)
            self.k[:, pb, :, :, ib] = self.k[:, pa, :, :, ia]
            self.v[:, pb, :, ib] = self.v[:, pa, :, ia]

    def write(self, slots: range | list[int], keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        page, inside = _split(np.asarray(slots), self.page_size)
        self.k[:, page, :, :, inside] = torch.stack(list(keys), 1).half()  # [n, L, Hkv, Dh]
        self.v[:, page, :, inside] = torch.stack(list(values), 1).half()


def _split(slots: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(slots // size), torch.from_numpy(slots % size)


def zeros(*shape: int) -> torch.Tensor:
    """fp16 zeros at a cache line's start; the operating system backs only the pages that are touched."""
    count = int(np.prod(shape))
    room = np.zeros(count * 2 + ALIGN, np.uint8)
    begin = -room.ctypes.data % ALIGN
    return torch.from_numpy(room[begin : begin + 2 * count]).view(torch.float16).view(shape)
