"""Entropy, cross-entropy and Kullback-Leibler divergence (Shannon 1948; Kullback and Leibler 1951), in bits.

H(P, Q) = H(P) + KL(P || Q): what a code made for Q costs on data from P is what P costs at least, and the difference.
Distributions are the last axis of an array [..., K]; the result has shape [...].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure

Floats = NDArray[np.float64]


@measure(
    "entropy",
    formula="H(P) = -Σ p log₂ p",
    checked="scipy.stats.entropy; log₂ K when uniform",
    high=math.inf,
    better="",
)
def entropy(p: ArrayLike) -> Floats:
    """The bits that a symbol drawn from P tells on average."""
    found: Floats = -_times_log(_distribution(p), _distribution(p)).sum(-1)
    return found


@measure(
    "cross_entropy",
    formula="H(P, Q) = -Σ p log₂ q",
    checked="H(P) + KL(P‖Q), by scipy.stats.entropy",
    high=math.inf,
    better="low",
)
def cross_entropy(p: ArrayLike, q: ArrayLike) -> Floats:
    """The bits a symbol drawn from P costs in a code made for Q; infinite where Q thinks impossible what P does."""
    found: Floats = -_times_log(_distribution(p), _distribution(q)).sum(-1)
    return found


@measure(
    "kl_divergence",
    formula="KL(P‖Q) = Σ p log₂ (p / q)",
    checked="scipy.stats.entropy(p, q)",
    high=math.inf,
    better="low",
)
def kl_divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """The bits wasted by taking Q for P: 0 when they are equal, and not symmetric."""
    one, two = _distribution(p), _distribution(q)
    found: Floats = (_times_log(one, one) - _times_log(one, two)).sum(-1)
    return np.maximum(found, 0.0)


def _times_log(p: Floats, q: Floats) -> Floats:
    """p log2 q, with 0 log 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(p > 0, p * np.log2(q), 0.0)
    return found


def _distribution(p: ArrayLike) -> Floats:
    x = np.asarray(p, dtype=np.float64)
    if x.ndim == 0 or x.shape[-1] == 0 or (x < 0).any() or not np.allclose(x.sum(-1), 1.0, atol=1e-6):
        raise BadInput("this is no probability distribution", hint="give numbers >= 0 that sum to 1")
    return x
