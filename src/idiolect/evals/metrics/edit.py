"""Edit distance (Levenshtein 1966) of characters and words, by rapidfuzz (the extra `evals`)."""

from __future__ import annotations

import math
from typing import Any

from idiolect.core.errors import BadInput, Unavailable
from idiolect.evals.metrics.registry import measure


@measure(
    "edit_distance",
    formula="least number of insertions, deletions and substitutions of a character",
    checked="the recurrence by hand; metric laws",
    high=math.inf,
    better="low",
)
def edit_distance(answer: str, reference: str) -> int:
    """How many characters must change."""
    return int(_levenshtein().distance(answer, reference))


@measure(
    "edit_similarity",
    formula="1 - distance / length of the longer text",
    checked="edit_distance and its bounds",
)
def edit_similarity(answer: str, reference: str) -> float:
    """The share of characters that may stay: 1 for equal texts (two empty ones too), 0 for wholly different ones."""
    return float(_levenshtein().normalized_similarity(answer, reference))


@measure(
    "word_error_rate",
    formula="word edits / words of the reference",
    checked="the recurrence by hand on words",
    high=math.inf,
    better="low",
)
def word_error_rate(answer: str, reference: str) -> float:
    """Word edits per word of the reference; over 1 when the answer is much longer."""
    said, wanted = answer.split(), reference.split()
    if not wanted:
        raise BadInput("the reference has no words", hint="a word error rate divides by their number")
    return float(_levenshtein().distance(said, wanted)) / len(wanted)


def _levenshtein() -> Any:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise Unavailable("edit distances need rapidfuzz", hint="pip install 'idiolect[evals]'") from None
    return Levenshtein
