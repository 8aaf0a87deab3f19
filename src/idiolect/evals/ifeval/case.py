"""Capitals: all of a response, none of it, or so many words."""

from __future__ import annotations

from idiolect.evals.ifeval import counting
from idiolect.evals.ifeval.detect import language
from idiolect.evals.ifeval.instruction import INSTRUCTIONS, related


@INSTRUCTIONS.register("change_case:english_capital")
def english_capital(response: str, /) -> bool:
    """English, all in capitals."""
    return response.isupper() and language(response) in ("en", None)


@INSTRUCTIONS.register("change_case:english_lowercase")
def english_lowercase(response: str, /) -> bool:
    """English, without any capital."""
    return response.islower() and language(response) in ("en", None)


@INSTRUCTIONS.register("change_case:capital_word_frequency")
def capital_word_frequency(response: str, /, *, capital_frequency: int, capital_relation: str) -> bool:
    """Words in capitals occur often (or rarely) enough."""
    return related(counting.capital_words(response), capital_relation, capital_frequency)
