"""How good a ranking of documents is, one query at a time; average over queries (`stats.bootstrap`).

`ranking` is document ids, best first, each at most once. `relevant` is the ids of the relevant documents, or a mapping
to graded gains; a gain of 0 or less is not relevant. A query without a relevant document has no score (NaN): leave it
out rather than count it as a failure. Definitions as in trec_eval; nDCG after Järvelin and Kekäläinen 2002.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from idiolect.evals.metrics.registry import measure

Relevant = Collection[str] | Mapping[str, float]


def gains(relevant: Relevant) -> dict[str, float]:
    """The relevant documents with their gains (1 each where only names are given)."""
    if isinstance(relevant, Mapping):
        return {name: float(gain) for name, gain in relevant.items() if gain > 0}
    return dict.fromkeys(relevant, 1.0)


@measure("precision_at_k", formula="relevant among the first k / k", checked="pytrec_eval (P_k)")
def precision_at_k(ranking: Sequence[str], relevant: Relevant, k: int = 10) -> float:
    """The share of the first k places that hold a relevant document; a missing place is a wrong one."""
    known = gains(relevant)
    return sum(name in known for name in ranking[:k]) / k if known else math.nan


@measure("recall_at_k", formula="relevant among the first k / relevant", checked="pytrec_eval (recall_k)")
def recall_at_k(ranking: Sequence[str], relevant: Relevant, k: int = 100) -> float:
    """The share of the relevant documents that are among the first k."""
    known = gains(relevant)
    return sum(name in known for name in ranking[:k]) / len(known) if known else math.nan


@measure("reciprocal_rank", formula="1 / place of the first relevant document", checked="pytrec_eval (recip_rank)")
def reciprocal_rank(ranking: Sequence[str], relevant: Relevant, k: int | None = None) -> float:
    """How soon the first relevant document comes; its mean over queries is the MRR. 0 when none does."""
    known = gains(relevant)
    if not known:
        return math.nan
    return next((1 / place for place, name in enumerate(ranking[:k], 1) if name in known), 0.0)


@measure(
    "average_precision",
    formula="Σ precision at the place of each relevant document / relevant",
    checked="pytrec_eval (map)",
)
def average_precision(ranking: Sequence[str], relevant: Relevant, k: int | None = None) -> float:
    """Precision averaged over the relevant documents' places; its mean over queries is the MAP."""
    known = gains(relevant)
    found, total = 0, 0.0
    for place, name in enumerate(ranking[:k], 1):
        if name in known:
            found += 1
            total += found / place
    return total / len(known) if known else math.nan


@measure(
    "ndcg_at_k",
    formula="Σ gain / log₂(place + 1) over the first k, over that of the best ranking",
    checked="pytrec_eval (ndcg_cut_k); scikit-learn's ndcg_score",
)
def ndcg_at_k(ranking: Sequence[str], relevant: Relevant, k: int = 10) -> float:
    """Gains discounted by their place, as a share of what the best possible ranking would have."""
    known = gains(relevant)
    if not known:
        return math.nan
    best = _discounted(sorted(known.values(), reverse=True)[:k])
    return _discounted([known.get(name, 0.0) for name in ranking[:k]]) / best


def _discounted(values: Sequence[float]) -> float:
    return sum(value / math.log2(place + 1) for place, value in enumerate(values, 1))
