"""Numbers about a question and each candidate sentence, for the fixed-weight models of quote.py and refuse.py.

Word statistics are taken over the candidates at hand, not over the whole library: what all retrieved sentences share
(the topic) then weighs little, what tells them apart weighs much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.retrieval.candidates import Candidate
from idiolect.retrieval.cues import cue
from idiolect.retrieval.tokenise import STOP_WORDS, Tokeniser
from idiolect.retrieval.types import Embedder

NAMES = ("near", "words", "cover", "cue")  # the ranking model reads these
K1, B = 1.2, 0.75

Terms = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Features:
    """[C] float64 each, C candidates: `near` is MiniLM's cosine of the question and the sentence under its heading
    (zeros without an encoder), `words` BM25 of the sentence with the one before it, `cover` the share of the
    question's words (by weight) that the sentence or its heading has, `cue` see cues.py, `passage` the cosine of the
    whole passage. `passage` serves refusal only: for the order of sentences it added nothing on other articles."""

    near: NDArray[np.float64]
    words: NDArray[np.float64]
    cover: NDArray[np.float64]
    cue: NDArray[np.float64]
    passage: NDArray[np.float64]
    covered: float  # share of the question's words (by weight) that all candidates have together

    def matrix(self) -> NDArray[np.float64]:
        """[C, 4] standardised over the candidates of this question, except `cue`, which is absolute."""
        columns = [getattr(self, n) if n == "cue" else standard(getattr(self, n)) for n in NAMES]
        return np.stack(columns, axis=1)


def standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero mean, unit deviation; a constant column becomes zeros."""
    return (values - values.mean()) / (values.std() + 1e-6)


def topical(terms: Terms, question: str) -> list[str]:
    """The question's distinct terms without function words; all of them when nothing else is left."""
    stops = {t for word in STOP_WORDS for t in terms(word)}
    every = list(dict.fromkeys(terms(question)))
    return [t for t in every if t not in stops] or every


def features(question: str, found: Sequence[Candidate], embedder: Embedder | None, terms: Terms | None) -> Features:
    """Features of at least one candidate. One call of the encoder, for the sentences and the question."""
    terms = terms or Tokeniser()
    asked = terms(question)
    bags = [Counter(terms(c.text)) for c in found]
    windows = [Counter(terms(c.lead)) + bag for c, bag in zip(found, bags, strict=True)]
    topics = topical(terms, question)
    frequency = Counter(t for bag in bags for t in bag)
    weight = {t: math.log(1 + (len(bags) - frequency[t] + 0.5) / (frequency[t] + 0.5)) for t in {*asked, *topics}}
    mass = sum(weight[t] for t in topics) or 1.0
    cover = []
    for candidate, bag in zip(found, bags, strict=True):
        held = bag.keys() | set(terms(candidate.context))
        cover.append(sum(weight[t] for t in topics if t in held) / mass)
    everything = {t for bag in bags for t in bag} | {t for c in found for t in terms(c.context)}
    return Features(
        covered=sum(weight[t] for t in topics if t in everything) / mass,
        near=_near(question, found, embedder),
        words=_bm25(asked, windows, weight),
        cover=np.array(cover),
        cue=np.array([cue(question, c.text) for c in found]),
        passage=np.array([c.passage.scores.get("dense", 0.0) for c in found], dtype=np.float64),
    )


def _near(question: str, found: Sequence[Candidate], embedder: Embedder | None) -> NDArray[np.float64]:
    if embedder is None:
        return np.zeros(len(found))
    texts = [f"{c.context}: {c.text}" for c in found]
    return (embedder(texts, "doc") @ embedder([question], "query")[0]).astype(np.float64)


def _bm25(asked: Sequence[str], bags: Sequence[Counter[str]], weight: dict[str, float]) -> NDArray[np.float64]:
    """Robertson's BM25 over the candidates."""
    lengths = np.array([max(1, bag.total()) for bag in bags], dtype=np.float64)
    norm = K1 * (1 - B + B * lengths / lengths.mean())
    total = np.zeros(len(bags))
    for term in asked:
        counts = np.array([bag[term] for bag in bags], dtype=np.float64)
        total += weight[term] * counts * (K1 + 1) / (counts + norm)
    return total
