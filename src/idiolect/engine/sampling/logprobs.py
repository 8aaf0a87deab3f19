"""Log-probabilities of chosen tokens and their most likely alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Likely:
    """Of one row: the chosen token's natural-log probability, and the most likely tokens with theirs, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


def logprobs(logits: Tensor, chosen: Tensor, top: Sequence[int]) -> list[Likely]:
    """[M, V] raw logits, [M] chosen ids and how many alternatives each row wants -> M results, in float32."""
    logits = logits.float()
    norm = logits.logsumexp(1)
    own = (logits.gather(1, chosen[:, None])[:, 0] - norm).tolist()
    most = min(max(top, default=0), logits.shape[1])
    if most == 0:
        return [Likely(value, ()) for value in own]
    best = logits.topk(most, dim=1)
    ids, values = best.indices.tolist(), (best.values - norm[:, None]).tolist()
    return [
        Likely(value, tuple(zip(i[:n], v[:n], strict=True)))
        for value, i, v, n in zip(own, ids, values, (min(n, most) for n in top), strict=True)
    ]
