"""Exact match as SQuAD counts it: equal up to case, punctuation, articles and white space.

Rajpurkar et al. 2016 (arXiv:1606.05250). `normalise` follows what the paper says of its evaluation.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from idiolect.evals.metrics.registry import measure

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, words parted by one space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@measure(
    "exact_match",
    formula="1 if any reference is equal after normalisation, else 0",
    checked="lm-eval's SQuAD metrics; invariance laws",
)
def exact_match(answer: str, references: str | Sequence[str]) -> float:
    """Whether the answer is one of the references, up to case, punctuation, articles and white space."""
    said = normalise(answer)
    return float(any(said == normalise(r) for r in several(references)))


def several(references: str | Sequence[str]) -> Sequence[str]:
    """One reference, or a list of them, as a list."""
    return [references] if isinstance(references, str) else references
