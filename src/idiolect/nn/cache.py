"""A contiguous cache: every sequence owns one slab of keys and values per layer.

The simplest `State`, for tests, examples and small loops. The engine has pages instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.core.errors import ContextOverflow
from idiolect.nn.batch import Batch, StateSpec


class Contiguous:
    """Caches of `sequences` sequences of at most `capacity` tokens each.

    `batch` declares what comes next and returns the batch to run; each call must be followed by one forward.
    """

    def __init__(
        self,
        specs: Sequence[StateSpec],
        *,
        sequences: int = 1,
        capacity: int = 2048,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.capacity = capacity
        self.device = torch.device(device)
        self.keys = [
            torch.zeros(sequences, s.kv_heads, capacity, s.head_dim, dtype=dtype, device=device) for s in specs
        ]
        self.values = [torch.zeros_like(k) for k in self.keys]
        self.filled = [0] * sequences
        self._rows: list[int] = []
        self._counts: list[int] = []

    def batch(
        self, segments: Sequence[Sequence[int] | Tensor], rows: Sequence[int] | None = None, *, last_only: bool = False
    ) -> Batch:
        """The next tokens of the sequences `rows` (all by default). `ContextOverflow` when a slab is full."""
        self._rows = list(range(len(self.filled)) if rows is None else rows)
        self._counts = [len(s) for s in segments]
        starts = [self.filled[row] for row in self._rows]
        for row, start, count in zip(self._rows, starts, self._counts, strict=True):
            if start + count > self.capacity:
                raise ContextOverflow(
                    f"sequence {row} would hold {start + count} tokens, the cache has {self.capacity}",
                    hint="make the cache with a larger capacity",
                )
            self.filled[row] = start + count
        return Batch.pack(segments, starts=starts, state=self, last_only=last_only, device=self.device)

    def begin(self, keys: Sequence[Tensor], values: Sequence[Tensor], row: int = 0) -> None:
        """Let an empty sequence begin with these keys and values [Hkv, P, Dh] of each layer."""
        self.filled[row] = keys[0].shape[1]
        for layer, (k, v) in enumerate(zip(keys, values, strict=True)):
            self.keys[layer][row, :, : k.shape[1]] = k
            self.values[layer][row, :, : v.shape[1]] = v

    @property
    def lengths(self) -> list[int]:
        return [self.filled[row] for row in self._rows]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> None:
        begin = 0
        for row, count in zip(self._rows, self._counts):
            end = self.filled[row]
            self.keys[layer][row, :, end - count : end] = k[begin : begin + count].transpose(0, 1)
            self.values[layer][row, :, end - count : end] = v[begin : begin + count].transpose(0, 1)
            begin += count

    def context(self, layer: int, segment: int) -> tuple[Tensor, Tensor]:
        row = self._rows[segment]
        length = self.filled[row]
        return self.keys[layer][row, :, :length], self.values[layer][row, :, :length]

    def padded(self, layer: int) -> tuple[Tensor, Tensor]:
        longest = max(self.lengths)
        return self.keys[layer][self._rows, :, :longest], self.values[layer][self._rows, :, :longest]
