"""Processors that move single logits. All take and return float32 logits [M, V]."""

from __future__ import annotations

import torch
from torch import Tensor


def logit_bias(logits: Tensor, rows: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
    """Add `bias[i]` to `logits[rows[i], tokens[i]]` (OpenAI's `logit_bias`; -100 bans, 100 forces in practice)."""
    return logits.index_put((rows, tokens), bias, accumulate=True)


def repetition_penalty(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Divide the positive and multiply the negative logits of every token in the prompt or the answer
    (Keskar et al. 2019, CTRL, arXiv:1909.05858). `seen` [M, V] bool, `penalty` [M, 1]."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def count_penalties(logits: Tensor, counts: Tensor, frequency: Tensor, presence: Tensor) -> Tensor:
    """OpenAI's penalties: subtract `frequency` for each time that a token was generated and `presence` once if it
    was. `counts` [M, V] counts generated tokens only (not the prompt's); `frequency`, `presence` [M, 1]."""
    return logits - frequency * counts - presence * (counts > 0)
