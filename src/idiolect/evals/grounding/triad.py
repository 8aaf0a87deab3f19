"""The RAG triad: does the context help, does the answer stand in it, does it answer the question?

Context relevance, groundedness and answer relevance (Saad-Falcon et al. 2024, "ARES", arXiv:2311.09476; Es et al. 2024,
"RAGAS", arXiv:2309.15217), each in [0, 1]. Together they tell where a RAG system fails: in the search, in the writing,
or in understanding what was asked. None of them says that the answer is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.grounding.checks import Check, JudgedCheck
from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Judged, Validity
from idiolect.evals.judges.pointwise import valid
from idiolect.evals.judges.read import measured, scores
from idiolect.evals.stats.estimate import Estimate
from idiolect.text.sentences import sentences

LABELS = {str(i): i / 3 for i in range(4)}


@dataclass(frozen=True, slots=True)
class Sourced:
    """A question, the passages that were found for it, and the answer that was written from them."""

    question: str
    passages: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Triad:
    """The mean of each side over all answers. `context` is the mean over an answer's passages."""

    context: Judged[Estimate]
    groundedness: Judged[Estimate]
    answer: Judged[Estimate]

    def __str__(self) -> str:
        return f"context relevance {self.context}\ngroundedness {self.groundedness}\nanswer relevance {self.answer}"


async def triad(judge: Judge, answers: Sequence[Sourced], check: Check | None = None) -> Triad:
    """Ask the judge about every passage and answer; each sentence of an answer is checked against its passages by
    `check` (None: by the judge)."""
    if not answers:
        raise BadInput("there is no answer to judge", hint="give at least one")
    owners = [i for i, one in enumerate(answers) for _ in one.passages]
    asked = [{"question": one.question, "passage": passage} for one in answers for passage in one.passages]
    on_context = await judge.verdicts("grounding/context", asked, LABELS)
    on_answer = await judge.verdicts(
        "grounding/answer", [{"question": one.question, "answer": one.answer} for one in answers], LABELS
    )
    check = check or JudgedCheck(judge)
    spans = [(i, one.answer[a:b]) for i, one in enumerate(answers) for a, b in sentences(one.answer)]
    held = await check([(text, answers[i].passages) for i, text in spans])
    grounded = [np.nan if h is None else float(h) for h in held]
    by_check = (
        check.validity
        if isinstance(check, JudgedCheck)
        else Validity("a rule", len(held), sum(h is None for h in held))
    )
    n, name = len(answers), judge.known_as
    return Triad(
        Judged(_mean(scores(on_context).tolist(), owners, n), valid(name, on_context)),
        Judged(_mean(grounded, [i for i, _ in spans], n), by_check),
        Judged(_mean(scores(on_answer).tolist(), list(range(n)), n), valid(name, on_answer)),
    )


def _mean(values: Sequence[float], owners: Sequence[int], n: int) -> Estimate:
    """The mean over answers of each answer's mean, which is NaN where it has no readable value."""
    own: list[list[float]] = [[] for _ in range(n)]
    for value, owner in zip(values, owners, strict=True):
        if np.isfinite(value):
            own[owner].append(value)
    rows = [float(np.mean(v)) if v else np.nan for v in own]
    return measured(rows)
