"""Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009): rankings in, one ranking out.

fused(d) = sum over rankings r of  weight(r) / (k + rank(d, r)),  ranks from 1; k = 60 as in the paper.
Only ranks are read, so rankers whose scores have no common scale can be mixed without fitting anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from idiolect.retrieval.types import Hit


def reciprocal_rank(
    rankings: Mapping[str, Sequence[Hit]], *, k: float = 60.0, weights: Mapping[str, float] | None = None
) -> list[Hit]:
    """Fuse `rankings` (best first, by ranker's name). A ranker without a weight has weight 1. Best first; equal
    sums keep the order in which the chunks were first met, so that the result is one and the same every time."""
    fused: dict[str, float] = {}
    for name, hits in rankings.items():
        weight = 1.0 if weights is None else weights.get(name, 1.0)
        for rank, hit in enumerate(hits, start=1):
            fused[hit.chunk] = fused.get(hit.chunk, 0.0) + weight / (k + rank)
    return [Hit(chunk, score) for chunk, score in sorted(fused.items(), key=lambda item: -item[1])]
