"""chrF: F-score of character n-grams (Popović 2015, "chrF: character n-gram F-score"), by sacrebleu.

It needs no word boundaries, so it also works for languages that write none, and it forgives a wrong ending. chrF++
(`words=2`) counts word bigrams too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from idiolect.evals.metrics.bleu import _library
from idiolect.evals.metrics.exact import several
from idiolect.evals.metrics.registry import measure


@measure(
    "chrf",
    formula="(1 + β²) P R / (β² P + R), β = 2, P and R over character 1- to 6-grams of the corpus",
    checked="sacrebleu.corpus_chrf",
    high=100.0,
)
def chrf(answers: Sequence[str], references: Sequence[str | Sequence[str]], words: int = 0) -> float:
    """Character n-gram F-score of a corpus, 0 to 100. `references[i]` belong to answer i."""
    lists = [list(several(r)) for r in references]
    most = max((len(r) for r in lists), default=1)
    columns = [[r[min(i, len(r) - 1)] for r in lists] for i in range(most)]  # a repeated reference changes nothing
    return float(_scorer(words).corpus_score(list(answers), columns).score)


@measure(
    "sentence_chrf",
    formula="chrF of one sentence",
    checked="sacrebleu.sentence_chrf",
    high=100.0,
)
def sentence_chrf(answer: str, references: str | Sequence[str], words: int = 0) -> float:
    """chrF of one answer: an item's own value, whose mean is near the corpus's score."""
    return float(_scorer(words).sentence_score(answer, list(several(references))).score)


@lru_cache(maxsize=4)
def _scorer(words: int) -> Any:
    return _library().metrics.CHRF(word_order=words)
