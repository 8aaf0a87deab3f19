"""Which keys a token sees."""

from __future__ import annotations

import torch
from torch import Tensor


def visible(queries: int, keys: int, causal: bool, window: int | None, device: torch.device | str = "cpu") -> Tensor:
    """Which keys the last `queries` tokens of a `keys`-long sequence see: bool [queries, keys]."""
    if not causal:
        return torch.ones(queries, keys, dtype=torch.bool, device=device)
    here = torch.arange(keys - queries, keys, device=device)[:, None]
    there = torch.arange(keys, device=device)[None]
    seen = there <= here
    return seen if window is None else seen & (there > here - window)
