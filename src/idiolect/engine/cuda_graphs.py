"""A step's launches, recorded once per size and replayed as one: CUDA graphs over buffers that stay where they are.

Steps are padded to a size of a short list (tokens, segments, blocks of rows). The first step of a size runs as it is,
which also compiles its kernels; the second is recorded; from then on the size is one launch. What a step brings lies
in one buffer, laid out for its size with the page numbers last, so that a step is one copy to the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.cuda.attention import ROWS
from idiolect.cuda.program import Feed

MOST = 64  # sizes that are kept recorded; the one that was not used for longest goes first


@dataclass(frozen=True, slots=True)
class Size:
    """Padded tokens, segments, and blocks of rows (0: one token per segment)."""

    tokens: int
    segments: int
    blocks: int

    @property
    def fixed(self) -> int:
        """Numbers before the pages: ids, positions, slots; starts, lengths, last rows; blocks."""
        return 3 * self.tokens + 3 * self.segments + 4 * self.blocks


def padded(n: int) -> int:
    """The next size: powers of two up to 16, then four steps an octave."""
    if n <= 16:
        return 1 << (n - 1).bit_length()
    step = 1 << ((n - 1).bit_length() - 3)
    return -(-n // step) * step


def size_of(counts: list[int], most: int) -> Size:
    """The size of a step of segments with `counts` new tokens; at most `most` tokens."""
    tokens = min(padded(sum(counts)), max(most, sum(counts)))
    if all(count == 1 for count in counts):
        return Size(tokens, tokens, 0)
    segments = 1 << (len(counts) - 1).bit_length()
    return Size(tokens, segments, -(-tokens // ROWS) + segments)


class Desk:
    """The buffer that steps are laid out in, on the device and on the host."""

    def __init__(self, tokens: int, pages: int, device: torch.device) -> None:
        """For at most `tokens` tokens a step, whose segments hold at most `pages` pages together."""
        biggest = Size(padded(tokens), padded(tokens), -(-padded(tokens) // ROWS) + 2 * tokens)
        self.capacity = biggest.fixed + pages
        self.pages = pages
        self._room = torch.zeros(self.capacity, dtype=torch.int32, device=device)
        self._cuda = device.type == "cuda"
        self._hosts = [torch.zeros(self.capacity, dtype=torch.int32, pin_memory=self._cuda) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in range(2)] if self._cuda else []
        self._turn = 0

    def feed(self, size: Size, parts: int) -> tuple[Feed, Tensor]:
        """Views of the device's buffer for a size, and each segment's last row [segments]."""
        n, s, b = size.tokens, size.segments, size.blocks
        cuts = (n, n, n, s, s, s, 4 * b)
        ids, pos, slots, starts, lengths, rows, blocks = self._room[: size.fixed].split(cuts)
        table = self._room[size.fixed :]
        return Feed(ids, pos, slots, starts, table, lengths, blocks.view(b, 4) if b else None, parts), rows

    def lay(self, size: Size, parts: list[NDArray[np.int32]], pages: NDArray[np.int32]) -> None:
        """Write ids, positions, slots, starts, lengths, last rows and blocks, each padded to `size`, then the pages."""
        self._turn ^= 1
        if self._cuda:
            self._copied[self._turn].synchronize()  # the copy before the last one has left this buffer
        host = self._hosts[self._turn]
        room = host.numpy()
        n, s = size.tokens, size.segments
        at = 0
        for values, width, empty in zip(
            parts, (n, n, n, s, s, s, 4 * size.blocks), (0, 0, -1, 0, 0, 0, 0), strict=True
        ):
            room[at : at + len(values)] = values
            room[at + len(values) : at + width] = empty
            at += width
        end = at + len(pages)
        room[at:end] = pages
        self._room[:end].copy_(host[:end], non_blocking=True)
        if self._cuda:
            self._copied[self._turn].record()


class Graphs:
    """Steps by size. `compute(size)` launches one and returns what it leaves."""

    def __init__(self, compute: Callable[[Size], tuple[Tensor, Tensor]], device: torch.device) -> None:
        self._compute = compute
        self._on = device.type == "cuda"
        self._met: set[Size] = set()
        self._kept: dict[Size, tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._on else None

    @property
    def count(self) -> int:
        """How many sizes are recorded."""
        return len(self._kept)

    def run(self, size: Size) -> tuple[Tensor, Tensor]:
        """Residual rows [tokens, D] and logits [segments, V]; valid until the next call."""
        if not self._on or size not in self._met:
            self._met.add(size)
            return self._compute(size)
        if size not in self._kept:
            if len(self._kept) >= MOST:
                torch.cuda.synchronize()
                del self._kept[next(iter(self._kept))]
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                left = self._compute(size)
            self._kept[size] = (graph, left)
        graph, left = self._kept[size] = self._kept.pop(size)
        graph.replay()
        return left
