"""One answer at a time, by a rubric, with or without a reference answer (Zheng et al. 2023, arXiv:2306.05685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Judged, Validity
from idiolect.evals.judges.read import Verdict, measured, scores
from idiolect.evals.stats.agreement import Agreement, kappa
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.paired import Difference, paired


@dataclass(frozen=True, slots=True)
class Rubric:
    """What is judged, on a scale of single digits. `points` describes scores: {1: "wrong", 5: "right and complete"}."""

    criterion: str
    low: int = 1
    high: int = 5
    points: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 9 or any(not self.low <= p <= self.high for p in self.points):
            raise BadInput(f"the scale {self.low} to {self.high}", hint="use whole numbers from 0 to 9, low below high")

    @property
    def labels(self) -> dict[str, float]:
        return {str(i): float(i) for i in range(self.low, self.high + 1)}

    def inputs(self) -> dict[str, object]:
        lines = "\n".join(f"{score}: {self.points[score]}" for score in sorted(self.points))
        return {"criterion": self.criterion, "low": self.low, "high": self.high, "points": lines}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to judge. `reference`: one known to be right."""

    question: str
    answer: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """The verdicts on all answers, in their order, and how valid they are."""

    verdicts: tuple[Verdict, ...]
    validity: Validity

    @property
    def mean(self) -> Judged[Estimate]:
        """The mean score on the rubric's scale, with its interval."""
        return Judged(measured(scores(self.verdicts), share=False), self.validity)

    def minus(self, other: Scores) -> Judged[Difference]:
        """The paired difference of two systems that answered the same questions."""
        return Judged(paired(scores(self.verdicts), scores(other.verdicts)), self.validity, other.validity)


async def pointwise(
    judge: Judge, answers: Sequence[Answered], rubric: Rubric, *, labels: Sequence[float | None] = ()
) -> Scores:
    """Ask the judge for a score of each answer: against its reference where it has one, else by the rubric alone.
    `labels` are people's scores of the same answers (None: nobody scored this one)."""
    if not answers:
        raise BadInput("there is no answer to judge", hint="give at least one")
    shared = rubric.inputs()
    verdicts: list[Verdict | None] = [None] * len(answers)
    for prompt, which in (
        ("judge/pointwise", [i for i, a in enumerate(answers) if a.reference is None]),
        ("judge/reference", [i for i, a in enumerate(answers) if a.reference is not None]),
    ):
        inputs = [
            {**shared, "question": answers[i].question, "answer": answers[i].answer}
            | ({"reference": answers[i].reference} if answers[i].reference is not None else {})
            for i in which
        ]
        for i, verdict in zip(which, await judge.verdicts(prompt, inputs, rubric.labels), strict=True):
            verdicts[i] = verdict
    done = tuple(v for v in verdicts if v is not None)
    return Scores(done, valid(judge.known_as, done, agreement=against(done, labels)))


def valid(
    name: str, verdicts: Sequence[Verdict], *, consistency: Estimate | None = None, agreement: Agreement | None = None
) -> Validity:
    """The validity of these verdicts."""
    return Validity(
        name,
        len(verdicts),
        sum(not v.parsed for v in verdicts),
        sum(v.mass > 0 for v in verdicts),
        consistency,
        agreement,
    )


def against(verdicts: Sequence[Verdict], labels: Sequence[float | None]) -> Agreement | None:
    """Agreement with people's scores: equal when rounded; kappa with quadratic weights, since scores are ordered."""
    if not labels:
        return None
    if len(labels) != len(verdicts):
        raise BadInput(f"{len(labels)} labels for {len(verdicts)} answers", hint="give one each, None for none")
    rows = zip(scores(verdicts).tolist(), labels, strict=True)
    both = [(round(score), round(label)) for score, label in rows if label is not None and np.isfinite(score)]
    return kappa([a for a, _ in both], [b for _, b in both], weights="quadratic") if both else None
