"""Passages to the sentences that an answer may quote.

Every candidate is verbatim: `document text[span[0]:span[1]] == text`. Overlapping chunks give a sentence once. A
sentence that a chunk cuts in half loses to the whole one where both are there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from idiolect.core.call import Passage
from idiolect.text.sentences import sentences

_HEADING = re.compile(r"\s{0,3}(?:#{1,6}\s|=+\s*$|-{3,}\s*$|```|~~~)")
_WORD = re.compile(r"\w")
_SEPARATORS = re.compile(r"[_\-.\s]+")
LEAST_LETTERS = 12  # shorter pieces ("Yes.", "5)", a page number) say nothing alone
MOST_CHARACTERS = 1200  # a "sentence" this long is a table or a log; it is cut at lines before it gets here


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a retrieved passage. `rank` is the passage's place in the retrieval (0 best), `lead` the sentence
    before it in the passage (empty: none), `context` what the document or its headings say it is about."""

    passage: Passage
    rank: int
    span: tuple[int, int]
    text: str
    lead: str
    context: str


def candidates(passages: Sequence[Passage]) -> list[Candidate]:
    """The sentences of `passages`, in their order, without headings and without repetitions."""
    found: list[Candidate] = []
    for rank, passage in enumerate(passages):
        context = about(passage)
        titles = {title.casefold() for title in passage.heading}
        lead = ""
        for a, b in sentences(passage.text):
            text = passage.text[a:b]
            if _HEADING.match(text) or text.strip("# \t").casefold() in titles:
                continue
            if len(_WORD.findall(text)) >= LEAST_LETTERS and len(text) <= MOST_CHARACTERS:
                span = (passage.span[0] + a, passage.span[0] + b)
                found.append(Candidate(passage, rank, span, text, lead, context))
            lead = text
    return _distinct(found)


def about(passage: Passage) -> str:
    """The heading path above a passage, or the file's name in words."""
    if passage.heading:
        return ", ".join(passage.heading)
    return _SEPARATORS.sub(" ", PurePosixPath(passage.document).stem).strip()


def _distinct(found: list[Candidate]) -> list[Candidate]:
    """Without sentences that another of the same document contains; the first of equals stays. A sentence that two
    documents share word for word is kept once: quoting it twice would tell nothing new."""
    kept: list[Candidate] = []
    seen: set[str] = set()
    by_document: dict[str, list[Candidate]] = {}
    for one in found:
        by_document.setdefault(one.passage.document, []).append(one)
    for one in found:
        others = by_document[one.passage.document]
        inside = any(
            o.span[0] <= one.span[0] and one.span[1] <= o.span[1] and o.span != one.span for o in others if o is not one
        )
        key = " ".join(one.text.split()).casefold()
        if not inside and key not in seen:
            seen.add(key)
            kept.append(one)
    return kept
