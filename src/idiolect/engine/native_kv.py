"""Keys and values in the pages that the native kernels read.

K is [layers, pages, Hkv, Dh, page_size] (transposed, so that sixteen positions are one vector), V is [layers, pages,
Hkv, page_size, Dh]. Both are fp16 (half of float32's traffic, and finer than bfloat16), or int8 with a float32 scale
for every head and position [layers, pages, Hkv, page_size].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import Unavailable
from idiolect.engine.kv import Slots
from idiolect.native.library import Cache

LANES = 16  # positions that a kernel reads at once
ALIGN = 64


class NativeKV(Slots):
    """`Unavailable` when a page is no multiple of sixteen tokens."""

    shares = True

    def __init__(self, layers: int, kv_heads: int, dim: int, pages: int, page_size: int, *, int8: bool = False) -> None:
        super().__init__(pages, page_size)
        if page_size % LANES:
            raise Unavailable(f"the kernels need pages of a multiple of {LANES} tokens, not {page_size}")
        kind = torch.int8 if int8 else torch.float16
        self.k = zeros(layers, pages, kv_heads, dim, page_size, dtype=kind)
        self.v = zeros(layers, pages, kv_heads, page_size, dim, dtype=kind)
        self.scales: tuple[Tensor, ...] = ()  # of K, of V
        if int8:
            self.scales = tuple(zeros(layers, pages, kv_heads, page_size, dtype=torch.float32) for _ in range(2))
        self.struct = Cache(
            *(page_size, pages, layers, kv_heads, dim, int(int8)),
            *(t.data_ptr() for t in (self.k, self.v, *self.scales)),
        )

    @staticmethod
    def bytes_per_page(layers: int, kv_heads: int, dim: int, page_size: int, *, int8: bool = False) -> int:
        return 2 * layers * kv_heads * page_size * (dim + 4 if int8 else 2 * dim)

    @property
    def bytes(self) -> int:
        return sum(t.nbytes for t in (self.k, self.v, *self.scales))

    def move(self, old: list[int], new: list[int]) -> None:
        for t in (self.k, self.v, *self.scales):
            t[:, new] = t[:, old]

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
            for t in (self.v, *self.scales):
                t[:, pb, :, ib] = t[:, pa, :, ia]

    def write(self, slots: range | list[int], keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        page, inside = _split(np.asarray(slots), self.page_size)
        k, v = torch.stack(list(keys), 1).float(), torch.stack(list(values), 1).float()  # [n, L, Hkv, Dh]
        for i, x in enumerate((k, v)):
            if self.scales:
                scale = x.abs().amax(-1) / 127  # [n, L, Hkv]
                self.scales[i][:, page, :, inside] = scale
                x.div_(scale.clamp(min=1e-30)[..., None]).round_()
        self.k[:, page, :, :, inside] = k.to(self.k.dtype)
        self.v[:, page, :, inside] = v.to(self.v.dtype)


def _split(slots: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(slots // size), torch.from_numpy(slots % size)


def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeros at a cache line's start; the operating system backs only the pages that are touched."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(size + ALIGN, np.uint8)
    begin = -room.ctypes.data % ALIGN
    return torch.from_numpy(room[begin : begin + size]).view(dtype).view(shape)
