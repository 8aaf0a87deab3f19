"""Elo ratings: after each match the winner takes points from the loser (Elo 1978).

The result depends on the order of the matches; it is for players that change over time. For models that do not, use
`bradley_terry`; here the matches are also replayed in random orders, and the mean and the spread say how much the order
alone moves a rating.
"""

from __future__ import annotations

import numpy as np

from idiolect.core.rng import Streams
from idiolect.evals.rank.matches import Table
from idiolect.evals.stats.estimate import Estimate

START = 1000.0


def elo(table: Table, *, k: float = 16.0, orders: int = 100, level: float = 0.95, seed: int = 0) -> dict[str, Estimate]:
    """Ratings by name, best first: the mean over `orders` random orders of the matches, and their interval. One order
    keeps the matches as they are."""
    rng = Streams(seed).numpy("orders")
    ends, scores = table.ends, table.scores
    found = []
    for _ in range(orders):
        order = np.arange(len(scores)) if orders == 1 else rng.permutation(len(scores))
        ratings = np.full(len(table.players), START)
        for a, b, score in zip(ends[order, 0].tolist(), ends[order, 1].tolist(), scores[order].tolist(), strict=True):
            gain = k * (score - 1 / (1 + 10 ** ((ratings[b] - ratings[a]) / 400)))
            ratings[a] += gain
            ratings[b] -= gain
        found.append(ratings)
    all_of = np.stack(found)
    low, high = np.quantile(all_of, [(1 - level) / 2, (1 + level) / 2], axis=0)
    rows = {
        name: Estimate(
            float(all_of[:, i].mean()), float(low[i]), float(high[i]), len(scores), float(all_of[:, i].std())
        )
        for i, name in enumerate(table.players)
    }
    return dict(sorted(rows.items(), key=lambda row: -row[1].value))
