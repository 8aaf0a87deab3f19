"""Strengths from pairs: P(i beats j) = 1 / (1 + exp(s_j - s_i)) (Bradley and Terry 1952, Biometrika 39).

The maximum-likelihood strengths do not depend on the order of the matches, which Elo's do. Newton's method finds them
in a few rounds; minorisation (Hunter 2004) takes thousands where somebody wins nearly always. `prior` is a number of
imaginary ties of every player against one average player: without it somebody who has won everything is infinitely
strong, and players who never met, even indirectly, cannot be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.evals.rank.matches import Table

PER_DOUBLING = 400 / np.log(10)  # Elo points of one unit of strength
MIDDLE = 1000.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A player's strength on the Elo scale (1000 the mean; 400 points are odds of ten to one), with the bootstrap
    interval over matches; `first` and `last` bound its rank in 95 % of the resamples."""

    name: str
    rating: float
    low: float
    high: float
    matches: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Players from strong to weak; `strengths` [P] in the order of the table, natural units, mean 0."""

    rows: tuple[Ranked, ...]
    strengths: NDArray[np.float64]

    def probability(self, table: Table, a: str, b: str) -> float:
        """How likely a beats b."""
        i, j = table.players.index(a), table.players.index(b)
        return float(1 / (1 + np.exp(self.strengths[j] - self.strengths[i])))


def fit(
    wins: NDArray[np.float64], prior: float = 0.1, rounds: int = 200, tolerance: float = 1e-9
) -> NDArray[np.float64]:
    """[P] strengths, mean 0, of a matrix of wins [P, P].

    Newton's method on the log-likelihood, which is concave: g_i = won_i - sum_j n_ij P(i beats j), and the Hessian is
    the Laplacian of n_ij P(i beats j) P(j beats i). No strength moves by more than 1 in a round.
    """
    played = wins + wins.T
    got = wins.sum(1) + prior / 2
    s = np.zeros(len(wins))
    for _ in range(rounds):
        p = 1 / (1 + np.exp(s[None, :] - s[:, None]))
        average = 1 / (1 + np.exp(-s))
        weight = played * p * (1 - p)
        hessian = np.diag(weight.sum(1) + prior * average * (1 - average) + 1e-12) - weight
        step = np.linalg.solve(hessian, got - (played * p).sum(1) - prior * average)
        step /= max(1.0, float(abs(step).max()))
        s = s + step
        if float(abs(step).max()) < tolerance:
            break
    centred: NDArray[np.float64] = s - s.mean()
    return centred


def bradley_terry(table: Table, *, prior: float = 0.1, draws: int = 200, level: float = 0.95, seed: int = 0) -> Ranking:
    """Rank all players of a table, with bootstrap intervals over its matches. `BadInput` without a match."""
    if not len(table.matches):
        raise BadInput("there are no matches", hint="compare at least two systems on one item")
    best = fit(table.wins(), prior)
    rng = Streams(seed).numpy("matches")
    n = len(table.matches)
    found = np.stack([fit(table.wins(rng.integers(0, n, n)), prior, tolerance=1e-5) for _ in range(draws)])
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(found, tails, axis=0)
    ranks = (-found).argsort(1).argsort(1) + 1
    first, last = np.quantile(ranks, tails, axis=0)
    played = (table.wins() + table.wins().T).sum(1)
    rows = [
        Ranked(
            name,
            MIDDLE + PER_DOUBLING * float(best[i]),
            MIDDLE + PER_DOUBLING * float(low[i]),
            MIDDLE + PER_DOUBLING * float(high[i]),
            round(float(played[i])),
            int(np.floor(first[i])),
            int(np.ceil(last[i])),
        )
        for i, name in enumerate(table.players)
    ]
    return Ranking(tuple(sorted(rows, key=lambda r: -r.rating)), best)
