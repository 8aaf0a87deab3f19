"""Does a passage say what a sentence claims? A check that needs no second model call.

A sentence is supported by a passage when three things hold: its numbers and names stand in the passage (or in the
question), its topic words are covered, and one of the passage's sentences is near it for MiniLM. The first finds
swapped facts, which similarity cannot see; the other two find what the passage does not talk about. Thresholds were
chosen on SQuAD statements with true and swapped answers (`python -m benchmarks support`).

It is no proof: a sentence that puts the right words in the wrong relation passes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from idiolect.core.call import Passage
from idiolect.retrieval.candidates import about
from idiolect.retrieval.features import Terms, topical
from idiolect.retrieval.tokenise import STOP_WORDS, Tokeniser
from idiolect.retrieval.types import Embedder
from idiolect.text.sentences import sentences

COVER = 0.75  # share of the topic words beside the question's that the passage has, at least
NEAR = 0.3  # cosine with the nearest sentence, at least
_MARKER = re.compile(r"\s*\[\d+\](?!\()")
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")
_NAME = re.compile(r"\b[A-Z][\w’'\-]*\w")
_SPELLED = {
    word: str(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}


@dataclass(frozen=True, slots=True)
class Support:
    """`passage` is the index of the passage that supports best, `span` the character range inside its text of the
    sentence that is nearest, `missing` the numbers and names that it does not have."""

    supported: bool
    passage: int
    score: float  # `cover` times `near`
    span: tuple[int, int]
    missing: tuple[str, ...]
    cover: float = 0.0  # share of the topic words that the question did not give and the passage has
    near: float = 1.0  # cosine with the nearest sentence; 1 without an encoder


def supported(
    sentence: str,
    passages: Sequence[Passage],
    embedder: Embedder | None = None,
    *,
    question: str = "",
    terms: Terms | None = None,
) -> Support:
    """Check `sentence` (citation marks are ignored) against each passage; the best one decides. Words of `question`
    count as given, since an answer repeats them."""
    terms = terms or Tokeniser()
    claim = _MARKER.sub("", sentence).strip()
    topics = topical(terms, claim)
    if not passages or not topics:
        return Support(not topics and bool(passages), 0, 0.0, (0, 0), ())
    given = set(terms(question))
    best: Support | None = None
    vector = embedder([claim], "query")[0] if embedder is not None else None
    everything = "\n".join(p.text for p in passages)
    for index, passage in enumerate(passages):
        one = _against(claim, topics, given, passage, index, terms, embedder, vector, everything)
        if best is None or (one.supported, one.score) > (best.supported, best.score):
            best = one
    assert best is not None
    return best


def _against(
    claim: str,
    topics: list[str],
    given: set[str],
    passage: Passage,
    index: int,
    terms: Terms,
    embedder: Embedder | None,
    vector: np.ndarray | None,
    everything: str,
) -> Support:
    held = set(terms(passage.text)) | set(terms(about(passage)))
    own = [t for t in topics if t not in given] or topics
    cover = sum(t in held for t in own) / len(own)
    missing = _missing(claim, held | given, passage.text, everything, terms)
    spans = sentences(passage.text) or [(0, len(passage.text))]
    near, at = 1.0, _overlap(spans, passage.text, set(topics), terms)
    if embedder is not None and vector is not None:
        cosines = embedder([passage.text[a:b] for a, b in spans]) @ vector
        at = int(np.argmax(cosines))
        near = float(cosines[at])
    good = not missing and cover >= COVER and near >= (NEAR if embedder is not None else 0.0)
    return Support(good, index, cover * near, spans[at], missing, cover, near)


def _overlap(spans: Sequence[tuple[int, int]], text: str, topics: set[str], terms: Terms) -> int:
    return int(np.argmax([len(topics & set(terms(text[a:b]))) for a, b in spans]))


def _missing(claim: str, held: set[str], text: str, everything: str, terms: Terms) -> tuple[str, ...]:
    """Numbers and names of the claim that are in neither the passage nor the question."""
    numbers = {_plain(n) for n in _NUMBER.findall(text)} | {v for w, v in _SPELLED.items() if w in held}
    lost = [n for n in _NUMBER.findall(claim) if _plain(n) not in numbers and not held.issuperset(terms(n))]
    for found in _NAME.finditer(claim):
        word = found.group()
        if word.lower() in STOP_WORDS or held.issuperset(terms(word)):
            continue
        if found.start() == 0 and not re.search(rf"\w[,;]? {re.escape(word)}\b", everything):
            continue  # the first word of any sentence has a capital; a name has one inside sentences too
        lost.append(word)
    return tuple(dict.fromkeys(lost))


def _plain(number: str) -> str:
    return number.rstrip(".,").replace(",", "")
