"""How likely a model finds a text: perplexity, and bits for each token, character, byte and word.

A tokenizer with longer tokens has fewer of them and a higher perplexity on the same text, so perplexities compare only
models with one vocabulary. Bits per byte (and per character) count what both models had to write: they are the
figures for different vocabularies, and what a compressor driven by the model would need. A model whose vocabulary
cannot spell the text at all has no figure.

Corpus figures are ratios of sums, not means of ratios: sum the parts of all texts (`Likelihood` adds up), or give the
columns to `bits_per_byte` and the others, which sum what they are given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idiolect.core.errors import BadInput
from idiolect.core.plan import rules
from idiolect.evals.metrics.registry import measure
from idiolect.evals.stats.bootstrap import Statistic, bootstrap
from idiolect.evals.stats.estimate import Estimate

LN2 = math.log(2)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The log-likelihood of a text in nats (natural log, at most 0), of `tokens` scored tokens, and the text's size."""

    logprob: float
    tokens: int
    chars: int
    bytes: int
    words: int = 0

    def __add__(self, other: Likelihood) -> Likelihood:
        return Likelihood(
            self.logprob + other.logprob,
            self.tokens + other.tokens,
            self.chars + other.chars,
            self.bytes + other.bytes,
            self.words + other.words,
        )

    @classmethod
    def of(cls, text: str, logprob: float, tokens: int) -> Likelihood:
        """Count the text: Unicode code points, UTF-8 bytes, words between white space."""
        return cls(logprob, tokens, len(text), len(text.encode("utf-8", "surrogatepass")), len(text.split()))


@measure(
    "perplexity",
    formula="2^(bits / tokens) = exp(-Σ ln p / tokens)",
    checked="closed form: K when uniform over K",
    low=1.0,
    high=math.inf,
    better="low",
)
def perplexity(logprob: ArrayLike, tokens: ArrayLike) -> float:
    """Among how many equally likely tokens the model chooses on average; of one vocabulary only."""
    return rules.perplexity(bits_per_token(logprob, tokens))


@measure(
    "bits_per_token",
    formula="-Σ log₂ p / tokens",
    checked="closed form: log₂ K when uniform over K",
    high=math.inf,
    better="low",
)
def bits_per_token(logprob: ArrayLike, tokens: ArrayLike) -> float:
    """The cross-entropy of the text under the model, a token."""
    return _bits(logprob) / _sum(tokens, "tokens")


@measure(
    "bits_per_character",
    formula="bits per token / (characters / tokens)",
    checked="6 bits a token of 2 characters = 3",
    high=math.inf,
    better="low",
)
def bits_per_character(logprob: ArrayLike, chars: ArrayLike) -> float:
    """Bits for each Unicode code point."""
    return rules.bits_per_character(_bits(logprob), _sum(chars, "chars"))


@measure(
    "bits_per_byte",
    formula="-Σ log₂ p / UTF-8 bytes",
    checked="3 bits a character of 7/8 byte = 3.43; 8 when uniform over bytes",
    high=math.inf,
    better="low",
)
def bits_per_byte(logprob: ArrayLike, size: ArrayLike) -> float:
    """Bits for each byte of the text: comparable across vocabularies; divided by 8 it is a compression ratio."""
    return rules.bits_per_byte(_bits(logprob), 8 * _sum(size, "bytes"))


@measure(
    "logprob_per_word",
    formula="Σ ln p / words",
    checked="closed form: -ln K when uniform over K one-token words",
    low=-math.inf,
    high=0.0,
)
def logprob_per_word(logprob: ArrayLike, words: ArrayLike) -> float:
    """The corpus's log-likelihood over its number of words, in nats."""
    return float(np.sum(logprob)) / _sum(words, "words")


def interval(logprob: ArrayLike, count: ArrayLike, figure: Statistic | None = None, **how: int) -> Estimate:
    """Bits a unit over texts with its bootstrap interval: texts are drawn, and sums are divided. `figure` maps the
    drawn rows [n, 2] of (logprob, count) to another figure, such as perplexity."""
    rows = np.stack([np.asarray(logprob, np.float64), np.asarray(count, np.float64)], 1)
    return bootstrap(rows, figure or (lambda x: float(-x[:, 0].sum() / LN2 / x[:, 1].sum())), **how)  # type: ignore[arg-type]


def _bits(logprob: ArrayLike) -> float:
    return -float(np.sum(logprob)) / LN2


def _sum(count: ArrayLike, what: str) -> float:
    total = float(np.sum(count))
    if not total > 0:
        raise BadInput(f"the text has no {what}", hint="give at least one text that is not empty")
    return total
