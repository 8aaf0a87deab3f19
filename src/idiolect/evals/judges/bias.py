"""What moves a judge that should not: the place of an answer, its length, and who wrote it.

Position and verbosity bias after Zheng et al. 2023 (arXiv:2306.05685), self-preference after Panickssery et al. 2024
(arXiv:2404.13076).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.judges.judged import Judged
from idiolect.evals.judges.pairwise import POINTS, Comparisons, Outcome, points, said
from idiolect.evals.judges.pointwise import Scores
from idiolect.evals.judges.read import measured, scores
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.paired import Difference, paired


def position(found: Comparisons) -> Judged[Estimate]:
    """The share of points that went to the answer shown first. Every pair was shown both ways, so a judge that does
    not look at the place gives 0.5; one that always takes the first gives 1."""
    both = [
        (POINTS[said(x)] + POINTS[said(y)]) / 2 if x.parsed and y.parsed else np.nan
        for x, y in zip(found.forward, found.backward, strict=True)
    ]
    return Judged(measured(both), found.validity)


def length(
    found: Comparisons, labels: Sequence[Outcome | None] = (), *, least: float = 1.1
) -> Judged[Estimate] | Judged[Difference]:
    """The points of the longer answer, over pairs in which one is `least` times as long as the other. Longer answers
    may be better: with people's labels the result is the judge's preference for length minus theirs."""
    judged, people = [], []
    given = list(labels) or [None] * len(found.pairs)
    for pair, point, label in zip(found.pairs, points(found.forward, found.backward).tolist(), given, strict=True):
        longer, shorter = max(len(pair.a), len(pair.b)), min(len(pair.a), len(pair.b))
        if longer < least * max(1, shorter):
            continue
        sign = len(pair.a) > len(pair.b)
        judged.append(point if sign else 1 - point)
        own = np.nan if label is None else POINTS[label]
        people.append(own if sign else 1 - own)
    if not judged:
        raise BadInput("no pair differs in length", hint=f"one answer must be {least:g} times as long as the other")
    if labels:
        return Judged(paired(judged, people), found.validity)
    return Judged(measured(judged), found.validity)


def length_correlation(found: Scores, answers: Sequence[str]) -> Judged[Estimate]:
    """Pearson's correlation of score and log length, for pointwise verdicts."""
    rows = np.stack([scores(found.verdicts), np.log1p([len(a) for a in answers])], 1)

    def correlation(x: np.ndarray) -> float:
        return float(np.corrcoef(x.T)[0, 1]) if (x.std(0) > 0).all() else 0.0

    return Judged(bootstrap(rows, correlation, draws=500), found.validity)


def self_preference(own: Comparisons, others: Comparisons, author: str) -> Judged[Difference]:
    """How much better the judge finds what `author` (itself) wrote than another judge does, on the same pairs: its
    points for the author's answers minus the other judge's."""
    if [(p.question, p.a, p.b) for p in own.pairs] != [(p.question, p.a, p.b) for p in others.pairs]:
        raise BadInput("the two judges saw other pairs", hint="give both the same pairs in the same order")
    rows = []
    for found in (own, others):
        given = zip(found.pairs, points(found.forward, found.backward).tolist(), strict=True)
        rows.append([x if p.name_a == author else 1 - x for p, x in given if author in (p.name_a, p.name_b)])
    if not rows[0]:
        raise BadInput(f"{author!r} wrote none of the answers", hint="name the system as the pairs do")
    return Judged(paired(*rows), own.validity, others.validity)
