"""What a judge said: its score from the probabilities of the answers it might have given, or from its text.

The expected score over the score tokens is finer than the one token that was drawn and does not depend on the draw
(Liu et al. 2023, "G-Eval", arXiv:2303.16634). Where the judge gives no log-probabilities the text is read. What names
no answer, or several, is unparsable: it is counted and never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.call import Completion, TokenInfo
from idiolect.core.errors import BadInput
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.figure import figure

LEAST = 0.5  # probability that the labels must have together at their place, for the expected score to be taken


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reading. `label` is what was said ("" when unparsable). `mass` is the probability that all labels together
    had there; 0 when the text alone was read."""

    _score: float = field(repr=False)
    label: str
    mass: float
    text: str

    @property
    def parsed(self) -> bool:
        return bool(self.label)


def scores(verdicts: Sequence[Verdict]) -> NDArray[np.float64]:
    """[n] of what was read, NaN where nothing could be. For statistics, whose results are `Judged`."""
    return np.array([v._score for v in verdicts], np.float64)


def measured(values: ArrayLike, *, share: bool = True) -> Estimate:
    """The mean of what was read with its interval (`share`: of values from 0 to 1); no figure at all, rather than an
    error, where nothing was."""
    x = np.asarray(values, np.float64)
    if np.isfinite(x).any():
        return figure(x, share=share)
    return Estimate(math.nan, math.nan, math.nan, 0, unscored=len(x))


def read(said: Completion, labels: Mapping[str, float]) -> Verdict:
    """The verdict in a judge's completion. `labels`: what it may say (one character each) -> the score it stands
    for."""
    if not labels or any(len(label) != 1 for label in labels):
        raise BadInput("the labels of a verdict must be single characters", hint="a scale from 0 to 9, or letters")
    tokens = said.choices[0].tokens if said.choices else []
    text = "".join(t.text for t in tokens) if tokens else said.text
    at = find(text, labels)
    if at is None:
        return Verdict(math.nan, "", 0.0, said.text)
    label = text[at]
    token = _at(tokens, at)
    shares = _shares(token, labels) if token is not None else {}
    mass = sum(shares.values())
    if mass < LEAST:
        return Verdict(labels[label], label, 0.0, said.text)
    expected = sum(p * labels[name] for name, p in shares.items()) / mass
    return Verdict(expected, label, min(mass, 1.0), said.text)


def find(text: str, labels: Mapping[str, float]) -> int | None:
    """Where the text names its label: after the last "score:" (or a like word), else where the only label stands that
    occurs as a word of its own. "4 out of 5" and "4/5" name 4."""
    one = "[" + re.escape("".join(labels)) + "]"
    word = r"\b(?i:score|rating|verdict|answer|grade)\b[\s*\"']*(?:[:=]|is\b)[\s*\"'\[(]*"
    marked = list(re.finditer(rf"{word}({one})(?!\w|\.\d)", text))
    if marked:
        return marked[-1].start(1)
    alone = [m.start(1) for m in re.finditer(rf"(?<![\w./'’\-])({one})(?![\w'’]|\.\d)", text)]
    alone = [i for i in alone if not re.search(r"(?:/|out of|from|to)\s*$", text[:i], re.IGNORECASE)]
    return alone[0] if len({text[i] for i in alone}) == 1 else None


def _at(tokens: Sequence[TokenInfo], place: int) -> TokenInfo | None:
    """The token whose text holds the character at `place`."""
    end = 0
    for token in tokens:
        end += len(token.text)
        if place < end:
            return token
    return None


def _shares(token: TokenInfo, labels: Mapping[str, float]) -> dict[str, float]:
    """The probability of each label among the likely tokens, with or without a space before it."""
    shares: dict[str, float] = {}
    for _, text, logprob in token.top:
        if (name := text.strip()) in labels:
            shares[name] = shares.get(name, 0.0) + math.exp(logprob)
    return shares
