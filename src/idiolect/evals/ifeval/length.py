"""How long a response must be, in words, sentences and paragraphs."""

from __future__ import annotations

import re

from idiolect.evals.ifeval import counting
from idiolect.evals.ifeval.instruction import INSTRUCTIONS, related

_RULE = re.compile(r"\s?\*\*\*\s?")  # the divider that the prompts ask for between paragraphs
_AFTER_WORD = re.compile(r"""[.,?!'"]""")


@INSTRUCTIONS.register("length_constraints:number_words")
def number_words(response: str, /, *, num_words: int, relation: str) -> bool:
    return related(counting.words(response), relation, num_words)


@INSTRUCTIONS.register("length_constraints:number_sentences")
def number_sentences(response: str, /, *, num_sentences: int, relation: str) -> bool:
    """Sentences as `text.sentences` finds them (the reference asks nltk's punkt; benchmarks/ifeval_checks.py counts
    how seldom that changes a verdict)."""
    return related(counting.sentences(response), relation, num_sentences)


@INSTRUCTIONS.register("length_constraints:number_paragraphs")
def number_paragraphs(response: str, /, *, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs with `***` between them; an empty one is allowed at the beginning and the end only."""
    parts = [bool(part.strip()) for part in _RULE.split(response)]
    return all(parts[1:-1]) and sum(parts) == num_paragraphs


@INSTRUCTIONS.register("length_constraints:nth_paragraph_first_word")
def nth_paragraph_first_word(response: str, /, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs (blank lines between them), and the n-th begins with the word. Empty paragraphs are
    not counted in the first and counted in the second, as in the published checker."""
    parts = response.split("\n\n")
    filled = sum(bool(part.strip()) for part in parts)
    if filled != num_paragraphs or nth_paragraph > filled:
        return False
    begin = parts[nth_paragraph - 1].split()
    if not begin:
        return False
    return _AFTER_WORD.split(begin[0].lstrip("'").lstrip('"'))[0].lower() == first_word.lower()
