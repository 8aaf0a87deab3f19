"""Words and letters that a response must have, must not have, or must have often enough. Case never counts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from idiolect.evals.ifeval.instruction import INSTRUCTIONS, related


@INSTRUCTIONS.register("keywords:existence")
def existence(response: str, /, *, keywords: Sequence[str]) -> bool:
    """Every keyword occurs, inside a longer word too."""
    text = response.lower()
    return all(word.lower() in text for word in keywords)


@INSTRUCTIONS.register("keywords:frequency")
def frequency(response: str, /, *, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword occurs often (or rarely) enough; occurrences do not overlap."""
    return related(len(re.findall(re.escape(keyword.strip()), response, re.IGNORECASE)), relation, frequency)


@INSTRUCTIONS.register("keywords:forbidden_words")
def forbidden_words(response: str, /, *, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs as a whole word."""
    return not any(re.search(rf"\b{re.escape(word)}\b", response, re.IGNORECASE) for word in forbidden_words)


@INSTRUCTIONS.register("keywords:letter_frequency")
def letter_frequency(response: str, /, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """One character (the data set also asks for "!" and "#") occurs often (or rarely) enough."""
    return related(response.lower().count(letter.strip().lower()), let_relation, let_frequency)
