"""ROUGE: what a summary and its reference share (Lin 2004, "ROUGE: a package for automatic evaluation of summaries").

ROUGE-N counts n-grams, ROUGE-L the longest common subsequence. Words are runs of a-z and 0-9 in lower case, as in
Google's rouge-score, whose figures these equal; there is no stemming. The longest common subsequence is found by
rapidfuzz (the extra `evals`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from idiolect.core.errors import Unavailable
from idiolect.evals.metrics.exact import several
from idiolect.evals.metrics.registry import measure

_WORD = re.compile(r"[a-z0-9]+")


class Rouge(NamedTuple):
    precision: float
    recall: float
    f1: float


def words(text: str) -> list[str]:
    """The words that ROUGE counts."""
    return _WORD.findall(text.lower())


def of_counts(both: int, said: int, wanted: int) -> Rouge:
    """Precision, recall and their harmonic mean; 0 where there is nothing to divide by."""
    if not both:
        return Rouge(0.0, 0.0, 0.0)
    precision, recall = both / said, both / wanted
    return Rouge(precision, recall, 2 * precision * recall / (precision + recall))


@measure(
    "rouge_n",
    formula="F1 of the n-grams that answer and reference share",
    checked="rouge-score (rouge1, rouge2)",
)
def rouge_n(answer: str, references: str | Sequence[str], n: int = 1) -> Rouge:
    """Overlap of word n-grams with the nearest reference."""
    said = _grams(words(answer), n)
    return _best([_overlap(said, _grams(words(r), n)) for r in several(references)])


@measure(
    "rouge_l",
    formula="F1 of the longest common subsequence of words",
    checked="rouge-score (rougeL)",
)
def rouge_l(answer: str, references: str | Sequence[str]) -> Rouge:
    """Words in common with the nearest reference that come in the same order, gaps allowed."""
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError:
        raise Unavailable("ROUGE-L needs rapidfuzz", hint="pip install 'idiolect[evals]'") from None
    said = words(answer)
    found = []
    for reference in several(references):
        wanted = words(reference)
        found.append(of_counts(int(LCSseq.similarity(said, wanted)), len(said), len(wanted)))
    return _best(found)


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def _overlap(said: Counter[tuple[str, ...]], wanted: Counter[tuple[str, ...]]) -> Rouge:
    return of_counts((said & wanted).total(), said.total(), wanted.total())


def _best(found: Sequence[Rouge]) -> Rouge:
    return max(found, key=lambda r: r.f1, default=Rouge(0.0, 0.0, 0.0))
