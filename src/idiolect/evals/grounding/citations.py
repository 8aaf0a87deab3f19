"""Are citations right? Precision and recall of an answer's citations (Gao et al. 2023, "ALCE", arXiv:2305.14627).

A sentence is recalled when all that it cites, together, bears it out. A citation is precise when its sentence is
recalled and it matters: it bears the sentence out alone, or without it the others do not. A number that points at no
passage is no link, and counts as a wrong citation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.grounding.checks import Check
from idiolect.evals.judges.read import measured
from idiolect.evals.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer, and the numbers (from 1) of the passages that it cites."""

    sentence: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cited:
    """One answer's figures. `recall` is over its sentences, `precision` over its citations (NaN when it has none);
    `broken` citations point nowhere."""

    recall: float
    precision: float
    sentences: int
    citations: int
    broken: int

    @property
    def f1(self) -> float:
        if not self.citations or self.precision + self.recall == 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


async def citations(answers: Sequence[tuple[Sequence[Claim], Sequence[str]]], check: Check) -> list[Cited]:
    """Check every sentence of every answer, given as (claims, passages)."""
    asked: dict[tuple[str, tuple[str, ...]], None] = {}
    for claims, passages in answers:
        for claim in claims:
            for group in _groups(_links(claim, passages)):
                asked[claim.sentence, tuple(passages[n - 1] for n in group)] = None
    keys = list(asked)
    known = dict(zip(keys, await check(keys), strict=True))
    return [_one(claims, passages, known) for claims, passages in answers]


def summary(found: Sequence[Cited]) -> tuple[Estimate, Estimate]:
    """(recall, precision) over answers, with intervals."""
    if not found:
        raise BadInput("there is no answer", hint="give at least one")
    return measured([f.recall for f in found]), measured([f.precision for f in found])


def _links(claim: Claim, passages: Sequence[str]) -> tuple[int, ...]:
    """The citations that point at a passage, each once."""
    return tuple(dict.fromkeys(n for n in claim.numbers if 1 <= n <= len(passages)))


def _groups(links: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What has to be checked for a sentence: all its links, each alone, and all but each."""
    if not links:
        return []
    groups = [links]
    if len(links) > 1:
        groups += [(n,) for n in links] + [tuple(m for m in links if m != n) for n in links]
    return groups


def _one(
    claims: Sequence[Claim], passages: Sequence[str], known: dict[tuple[str, tuple[str, ...]], bool | None]
) -> Cited:
    recalled, precise, total, broken = [], 0, 0, 0
    for claim in claims:
        links = _links(claim, passages)
        wrong = len(dict.fromkeys(claim.numbers)) - len(links)
        broken += wrong
        total += len(links) + wrong

        def holds(group: tuple[int, ...], sentence: str = claim.sentence) -> bool:
            return bool(group) and bool(known[sentence, tuple(passages[n - 1] for n in group)])

        whole = holds(links)
        recalled.append(whole)
        if whole:
            precise += sum(
                len(links) == 1 or holds((n,)) or not holds(tuple(m for m in links if m != n)) for n in links
            )
    return Cited(
        float(np.mean(recalled)) if recalled else float("nan"),
        precise / total if total else float("nan"),
        len(recalled),
        total,
        broken,
    )
