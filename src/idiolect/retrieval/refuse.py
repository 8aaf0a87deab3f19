"""Is what was retrieved about the question at all? A calibrated yes or no, before any answer is made.

A logistic model over four numbers: the best cosine of a sentence, the best cosine of a passage, the best share of the
question's words in one sentence, and the share that all retrieved passages have together. Fitted on questions asked
to the documents that they were written for, and to documents of other subjects. The bias is set so that 85% of the
second kind are refused there, with 1% of the first, since to refuse a question that has an answer is the worse error
(`python -m benchmarks.fitting.quote`).

Without an encoder only the two word shares are left, with weights of their own, and they tell much less: to refuse 74%
of the second kind, 5% of the first are refused. English function words are known; in other languages they count as
words, so the shares are lower and refusal comes sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from idiolect.retrieval.features import Features

WEIGHTS = {"near": 5.0, "passage": 4.4, "cover": 4.2, "all": 1.7}
BIAS = -6.0
WORD_WEIGHTS = {"cover": 6.5, "all": 1.7}
WORD_BIAS = -2.7
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Relevance:
    """`score` (0 to 1) is the model's probability that the passages are about the question; `parts` its inputs."""

    score: float
    parts: dict[str, float]

    @property
    def relevant(self) -> bool:
        return self.score >= THRESHOLD

    @property
    def why(self) -> str:
        named = ", ".join(f"{name} {value:.2f}" for name, value in self.parts.items())
        return f"relevance {self.score:.2f} (answers need {THRESHOLD:g}; {named})"


def relevance(features: Features | None, *, encoder: bool) -> Relevance:
    """The relevance of everything that was retrieved. Nothing retrieved: 0."""
    if features is None:
        return Relevance(0.0, {})
    parts = inputs(features)
    weights, bias = (WEIGHTS, BIAS) if encoder else (WORD_WEIGHTS, WORD_BIAS)
    used = {name: parts[name] for name in weights}
    logit = bias + sum(weights[name] * value for name, value in used.items())
    return Relevance(1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit)))), used)


def inputs(features: Features) -> dict[str, float]:
    """The four numbers, each about 0 to 1."""
    near, passage = float(features.near.max()), float(features.passage.max())
    return {
        "near": near,
        "passage": passage or near,  # no passage has a vector yet while the first index is under way
        "cover": float(features.cover.max()),
        "all": features.covered,
    }
