"""Multiple choice: the option whose text the model finds most likely.

A longer option is less likely for its length alone. Raw log-likelihoods suit options of one form (A, B, C, D);
otherwise they are divided by the option's length in tokens (Brown et al. 2020, arXiv:2005.14165), characters (what
lm-eval calls acc_norm) or bytes (the one that does not depend on the vocabulary).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure


def pick(logprobs: Sequence[float], lengths: Sequence[int] | None = None) -> int:
    """The index of the best option; the first of equals. `lengths` (tokens, characters or bytes) divide."""
    return int(np.argmax(_scores(logprobs, lengths)))


def margin(logprobs: Sequence[float], lengths: Sequence[int] | None = None) -> float:
    """How far the best option lies above the second, in nats (a unit of length): what a difference between two
    systems' choices has to be compared with."""
    if len(logprobs) < 2:
        return float("inf")
    second, best = np.sort(_scores(logprobs, lengths))[-2:].tolist()
    return float(best - second)


def probabilities(logprobs: Sequence[float], lengths: Sequence[int] | None = None) -> NDArray[np.float64]:
    """[K] probabilities of the options among themselves: the confidence that calibration is measured with."""
    scores = _scores(logprobs, lengths)
    odds = np.exp(scores - scores.max())
    found: NDArray[np.float64] = odds / odds.sum()
    return found


@measure(
    "choice_accuracy",
    formula="1 if argmax log p is the target, else 0",
    checked="scikit-learn's accuracy_score on argmax",
)
def choice_accuracy(logprobs: Sequence[float], target: int) -> float:
    """Whether the most likely option is the right one."""
    return float(pick(logprobs) == target)


@measure(
    "choice_accuracy_length",
    formula="1 if argmax (log p / tokens) is the target, else 0",
    checked="scikit-learn's accuracy_score on the argmax of the ratios",
)
def choice_accuracy_length(logprobs: Sequence[float], tokens: Sequence[int], target: int) -> float:
    """The same with log-likelihoods a token (or a character, if those are given)."""
    return float(pick(logprobs, tokens) == target)


@measure(
    "choice_accuracy_bytes",
    formula="1 if argmax (log p / UTF-8 bytes) is the target, else 0",
    checked="scikit-learn's accuracy_score on the argmax of the ratios",
)
def choice_accuracy_bytes(logprobs: Sequence[float], sizes: Sequence[int], target: int) -> float:
    """The same with log-likelihoods a byte, which no vocabulary moves."""
    return float(pick(logprobs, sizes) == target)


def _scores(logprobs: Sequence[float], lengths: Sequence[int] | None) -> NDArray[np.float64]:
    scores = np.asarray(logprobs, np.float64)
    if not len(scores):
        raise BadInput("there is no option", hint="give at least one log-likelihood")
    if lengths is None:
        return scores
    sizes = np.asarray(lengths, np.float64)
    if sizes.shape != scores.shape or (sizes <= 0).any():
        raise BadInput("an option has no length", hint="give a length of at least 1 for every option")
    found: NDArray[np.float64] = scores / sizes
    return found
