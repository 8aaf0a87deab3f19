"""The random number behind a token, and the token that it picks.

The number is a hash of (seed, choice, index of the token in the answer): a counter-based stream (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"), so it depends on nothing else in the batch, on no earlier draw, and not
on whether the request was preempted. What can still differ between two batches are the last bits of the logits, as
matrix products of different sizes add in a different order; in float32 a draw changes only if its number lies within
that rounding (about 1e-6) of the border between two tokens.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(seed: int, choice: int, index: int) -> float:
    """A number in [0, 1) with 53 random bits; any Python int is a seed."""
    key = struct.pack("<QqQ", seed & 0xFFFFFFFFFFFFFFFF, choice, index)
    bits = int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"idiolect-draw").digest(), "little")
    return (bits >> 11) * 2.0**-53


def draw(logits: Tensor, numbers: Sequence[float]) -> Tensor:
    """[M, V] logits (-inf: cannot be drawn) and one number in [0, 1) per row -> [M] token ids, by the inverse of the
    cumulative distribution in order of token id. In that order a rounding error moves one border a little; in order
    of probability it could swap two whole tokens."""
    mass = logits.softmax(1).double().cumsum(1)
    total = mass[:, -1:]
    at = torch.tensor(numbers, dtype=torch.float64, device=logits.device)[:, None] * total
    at = torch.minimum(at, torch.nextafter(total, torch.zeros_like(total)))  # never past the last possible token
    return torch.searchsorted(mass, at, right=True)[:, 0]
