"""From pairs to a ranking: strengths, ratings, win rates, and whether a ranking is what the pairs say at all."""

from idiolect.evals.rank.bradley_terry import Ranked, Ranking, bradley_terry
from idiolect.evals.rank.elo import elo
from idiolect.evals.rank.matches import Match, Table
from idiolect.evals.rank.triples import Triples, intransitive
from idiolect.evals.rank.win_rate import mean_win_rate, win_rates

__all__ = [
    "Match",
    "Ranked",
    "Ranking",
    "Table",
    "Triples",
    "bradley_terry",
    "elo",
    "intransitive",
    "mean_win_rate",
    "win_rates",
]
