"""Which of two answers is better? Every pair is asked twice, with the answers swapped, and both must agree.

A judge that prefers the place rather than the answer contradicts itself when the order is swapped; such a pair is a tie
and counts against the judge's consistency (Zheng et al. 2023, arXiv:2306.05685).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Judged, Validity
from idiolect.evals.judges.pointwise import valid
from idiolect.evals.judges.read import Verdict, measured, scores
from idiolect.evals.rank import Match, Ranking, Table, Triples, bradley_terry, intransitive, win_rates
from idiolect.evals.stats.agreement import Agreement, kappa
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.wilson import wilson

Outcome = Literal["a", "b", "tie"]
LABELS = {"A": 1.0, "B": 0.0, "C": 0.5}
POINTS: dict[Outcome, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question, and the names of the systems that gave them."""

    question: str
    a: str
    b: str
    name_a: str = "a"
    name_b: str = "b"
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """`forward[i]` saw answer a first, `backward[i]` answer b; both of `pairs[i]`."""

    pairs: tuple[Pair, ...]
    forward: tuple[Verdict, ...]
    backward: tuple[Verdict, ...]
    validity: Validity

    @property
    def win_rate(self) -> Judged[Estimate]:
        """a's share of the points: 1 for a win, half for a tie or a contradiction."""
        return Judged(measured(points(self.forward, self.backward)), self.validity)

    @property
    def matches(self) -> Judged[tuple[Match, ...]]:
        """What `evals.rank` ranks; a pair that could not be read is no match."""
        rows = zip(self.pairs, points(self.forward, self.backward).tolist(), strict=True)
        return Judged(tuple(Match(p.name_a, p.name_b, x) for p, x in rows if np.isfinite(x)), self.validity)


async def pairwise(
    judge: Judge, pairs: Sequence[Pair], criterion: str, *, labels: Sequence[Outcome | None] = ()
) -> Comparisons:
    """Ask about each pair in both orders. `labels` are people's verdicts (None: nobody gave one)."""
    if not pairs:
        raise BadInput("there is no pair to judge", hint="give at least one")
    orders = [[(p.a, p.b) for p in pairs], [(p.b, p.a) for p in pairs]]
    inputs = [
        {"criterion": criterion, "question": p.question, "first": x, "second": y, "reference": p.reference}
        for order in orders
        for p, (x, y) in zip(pairs, order, strict=True)
    ]
    verdicts = await judge.verdicts("judge/pairwise", inputs, LABELS)
    forward, backward = tuple(verdicts[: len(pairs)]), tuple(verdicts[len(pairs) :])
    ways = [(said(x), opposite(said(y))) for x, y in zip(forward, backward, strict=True) if x.parsed and y.parsed]
    consistency = wilson(sum(x == y for x, y in ways), len(ways))
    validity = valid(judge.known_as, verdicts, consistency=consistency, agreement=_agreement(forward, backward, labels))
    return Comparisons(tuple(pairs), forward, backward, validity)


def said(verdict: Verdict) -> Outcome:
    """What the verdict says of the answer shown first: ahead, behind, or neither."""
    score = scores([verdict])[0]
    return "tie" if verdict.label == "C" else "a" if score > 0.5 else "b" if score < 0.5 else "tie"


def opposite(outcome: Outcome) -> Outcome:
    return {"a": "b", "b": "a", "tie": "tie"}[outcome]  # type: ignore[return-value]


def points(forward: Sequence[Verdict], backward: Sequence[Verdict]) -> NDArray[np.float64]:
    """[n] points of a: both orders must agree, or it is a tie; NaN where either could not be read."""
    found = []
    for x, y in zip(forward, backward, strict=True):
        one, two = said(x), opposite(said(y))
        found.append(POINTS[one if one == two else "tie"] if x.parsed and y.parsed else np.nan)
    return np.array(found, np.float64)


def _agreement(
    forward: Sequence[Verdict], backward: Sequence[Verdict], labels: Sequence[Outcome | None]
) -> Agreement | None:
    if not labels:
        return None
    if len(labels) != len(forward):
        raise BadInput(f"{len(labels)} labels for {len(forward)} pairs", hint="give one each, None for none")
    found = points(forward, backward).tolist()
    both = [(x, POINTS[label]) for x, label in zip(found, labels, strict=True) if label is not None and np.isfinite(x)]
    return kappa([a for a, _ in both], [b for _, b in both]) if both else None


@dataclass(frozen=True, slots=True)
class Standing:
    """A ranking, each system's share of the points, and the circles that no ranking can hold."""

    ranking: Ranking
    win_rates: dict[str, float]
    circles: Triples

    def __str__(self) -> str:
        rows = [f"{r.name} {r.rating:.0f} [{r.low:.0f}, {r.high:.0f}]" for r in self.ranking.rows]
        return f"{', '.join(rows)}; {len(self.circles.cycles)} of {self.circles.n} triples go in circles"


def standing(*compared: Comparisons, draws: int = 200, seed: int = 0) -> Judged[Standing]:
    """Rank all systems that were compared: Bradley-Terry over the matches of every judge given."""
    whole = compared[0].matches
    for other in compared[1:]:
        whole = whole.join(other.matches, lambda x, y: x + y)

    def rank(matches: tuple[Match, ...]) -> Standing:
        table = Table(matches)
        return Standing(bradley_terry(table, draws=draws, seed=seed), win_rates(table), intransitive(table))

    return whole.map(rank)
