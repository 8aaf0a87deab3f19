"""The best sentences of the retrieved passages, verbatim: the answer of a model that is too small to be trusted.

Three rankers that fail on different questions are combined by one fixed linear model over standardised features:
words (BM25 over sentence and neighbour, share of the question's words), meaning (MiniLM's cosine of the question and
the sentence under its heading), and the language model's own log-likelihood of the question given the sentence (query
likelihood, Ponte and Croft 1998; with a neural model, Sachan et al. 2022, arXiv:2204.07496). The first two are cheap
and choose the few sentences that the third one reads.

The weights were fitted by listwise softmax regression (`python -m benchmarks.fitting.quote`) on questions over
documents that the benchmark does not hold; see docs/experiments.md for what did not help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idiolect.core.call import Passage
from idiolect.retrieval.candidates import Candidate, candidates
from idiolect.retrieval.features import NAMES, Features, Terms, features, standard
from idiolect.retrieval.types import Embedder

WEIGHTS = {"near": 1.06, "words": 0.66, "cover": 0.43, "cue": 1.58}
LIKELIHOOD = 0.55  # weight of the standardised log-likelihood, beside WEIGHTS
DEPTH = 8  # sentences that the language model reads
SURE = 0.95  # no further sentence is shown once the ones before it have this share of the probability

Score = Callable[[Sequence[Candidate], str], Sequence[float]]
"""Log-likelihood (natural log, summed over the question's tokens) of the question given each candidate."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence to show. `span` counts in the document's text, `lead` is the sentence before it; `passage` carries
    the rankers' scores of the passage, `scores` those of the sentence: `near`, `words`, `cover`, `lm` (where it was
    read), and `quote`, which combines them: the probability (0 to 1) that this one of the shortlisted sentences
    answers best. It says nothing about whether any of them does."""

    passage: Passage
    span: tuple[int, int]
    text: str
    lead: str
    score: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What the cheap rankers chose, best first, and the features of all candidates for the decision to refuse."""

    question: str
    found: tuple[Candidate, ...]
    cheap: NDArray[np.float64]  # [len(found)]
    rows: tuple[int, ...]  # row of each in `features`
    features: Features | None  # None: there was no candidate


def shortlist(
    question: str,
    passages: Sequence[Passage],
    *,
    embedder: Embedder | None = None,
    terms: Terms | None = None,
    depth: int = DEPTH,
) -> Shortlist:
    """The `depth` most promising sentences of `passages` (best passage first) without the language model."""
    found = candidates(passages)
    if not found or not question.strip():
        return Shortlist(question, (), np.zeros(0), (), None)
    made = features(question, found, embedder, terms)
    cheap = made.matrix() @ np.array([WEIGHTS[name] for name in NAMES])
    order = np.argsort(-cheap, kind="stable")[:depth]
    return Shortlist(question, tuple(found[i] for i in order), cheap[order], tuple(int(i) for i in order), made)


def choose(
    short: Shortlist, likelihoods: Sequence[float] | None = None, most: int = 3, sure: float = 1.0
) -> list[Quote]:
    """At most `most` quotes, best first. `likelihoods` belong to `short.found`; None: rank without them. With `sure`
    below 1 fewer are given when the first ones hold that much of the probability (`SURE` showed two sentences instead
    of three on average, and lost no answer of 100)."""
    if not short.found or short.features is None:
        return []
    total = short.cheap.copy()
    if likelihoods is not None:
        total = total + LIKELIHOOD * standard(np.asarray(likelihoods, dtype=np.float64))
    share = np.exp(total - total.max())
    share /= share.sum()
    quotes: list[Quote] = []
    for i in np.argsort(-total, kind="stable")[:most]:
        if quotes and sum(quote.score for quote in quotes) >= sure:
            break
        one, row = short.found[i], short.rows[i]
        scores = {name: float(getattr(short.features, name)[row]) for name in ("near", "words", "cover")}
        if likelihoods is not None:
            scores["lm"] = float(likelihoods[i])
        scores["quote"] = float(share[i])
        passage = replace(one.passage, scores={**one.passage.scores, **scores})
        quotes.append(Quote(passage, one.span, one.text, one.lead, float(share[i]), scores))
    return quotes


def rank(
    question: str,
    passages: Sequence[Passage],
    *,
    embedder: Embedder | None = None,
    score: Score | None = None,
    terms: Terms | None = None,
    most: int = 3,
    depth: int = DEPTH,
) -> list[Quote]:
    """`shortlist`, `score` and `choose` in one call: at most `most` quotes for `question`, best first."""
    short = shortlist(question, passages, embedder=embedder, terms=terms, depth=depth)
    return choose(short, score(short.found, question) if score and short.found else None, most)
