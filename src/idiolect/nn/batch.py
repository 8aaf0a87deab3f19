"""The packed forward: what a model sees.

A batch is a flat list of tokens with segment bounds. There is no padding, so there is no pad token, no attention-mask
argument and no left/right question. Training, scoring, prefill, chunked prefill, decode and the verification of
drafts are the same call with different segments, with or without a `State`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from idiolect.nn.tree import Tree


@dataclass(frozen=True, slots=True)
class Paged:
    """A layer that keeps keys and values for every position: `kv_heads` x `head_dim` each for K and V."""

    kv_heads: int
    head_dim: int

    def bytes_per_token(self, itemsize: int) -> int:
        return 2 * self.kv_heads * self.head_dim * itemsize


StateSpec = Paged  # `Window` and `Fixed` join this union with the first model that needs them


class State(Protocol):
    """The caches that a batch reads and extends, seen through the batch's own segments.

    `attend` calls `extend` once per layer with the new keys and values of all N tokens, then reads each segment's
    whole context (old and new) in the order of positions. A state that has kernels for its own layout may have
    `attend(q, layer, scale, window, softcap)` as well, which then does all of causal attention.
    """

    @property
    def lengths(self) -> Sequence[int]:
        """Context length of each segment *after* this batch (S ints, on the host)."""
        ...

    def extend(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Store `k`, `v` [N, Hkv, Dh] of this batch's tokens."""
        ...

    def context(self, layer: int, segment: int) -> tuple[Tensor, Tensor]:
        """Keys and values [Hkv, T, Dh] of a segment, T = lengths[segment]; a view where the layout allows."""
        ...

    def padded(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [S, Hkv, Tmax, Dh] of all segments, rows past a segment's length undefined but finite."""
        ...


class Front(Protocol):
    """Keys and values before a segment's own (prefix and prompt tuning while training; see nn.fronted)."""

    def context(self, layer: int, segment: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor] | None:
        """[P, Hkv, Dh] each, P the same for all segments that have any; `k`, `v` [N, Hkv, Dh] are this batch's own."""
        ...


@dataclass(slots=True)
class Batch:
    """N tokens in S segments, M wanted rows.

    `bounds` is `cu` as Python ints: made once on the host, so that no back end has to synchronise with a device.
    """

    ids: Tensor  # [N] int64 token ids
    pos: Tensor  # [N] int64 position of each token inside its own sequence
    cu: Tensor  # [S+1] int32 bounds of the segments
    bounds: tuple[int, ...]
    state: State | None = None  # None: stateless (training, scoring)
    out: Tensor | None = None  # [M] int64 rows whose logits are wanted; None: all
    front: Front | None = None  # keys and values that stand before each segment (a stateless batch only)
    tree: Tree | None = None  # segments are trunks with branches (a stateless batch only)

    @classmethod
    def pack(
        cls,
        segments: Sequence[Sequence[int] | Tensor],
        *,
        starts: Sequence[int] | None = None,
        state: State | None = None,
        last_only: bool = False,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """Pack token lists into one batch. `starts[i]` is the position of segment i's first token (0 by default);
        `last_only` asks for the logits of each segment's last row. An empty segment is refused."""
        bounds = [0]
        for segment in segments:
            if len(segment) == 0:
                raise ValueError("a segment needs at least one token")
            bounds.append(bounds[-1] + len(segment))
        flat = [torch.as_tensor(s, dtype=torch.int64) for s in segments]
        begin = starts if starts is not None else [0] * len(flat)
        pos = [torch.arange(b, b + len(s), dtype=torch.int64) for s, b in zip(flat, begin, strict=True)]
        out = torch.tensor(bounds[1:], dtype=torch.int64) - 1 if last_only else None
        return cls(
            ids=torch.cat(flat).to(device),
            pos=torch.cat(pos).to(device),
            cu=torch.tensor(bounds, dtype=torch.int32, device=device),
            bounds=tuple(bounds),
            state=state,
            out=None if out is None else out.to(device),
        )

    @property
    def segments(self) -> int:
        return len(self.bounds) - 1

    def __len__(self) -> int:
        return self.bounds[-1]
