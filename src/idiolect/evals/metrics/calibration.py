"""Calibration: of the answers given with 80 % confidence, are 80 % right?

Expected calibration error over bins of equal width (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599), and the
Brier score (1950). A reliability diagram is `reliability`'s rows: mean confidence and accuracy of each bin.
Confidences come from log-probabilities, e.g. `choice.probabilities(...).max()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """The `n` answers whose confidence lies in (low, high]; NaN means where there is none."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> list[Bin]:
    """The rows of a reliability diagram. `confidence` [n] in [0, 1], `right` [n] 0 or 1."""
    p, y = _pair(confidence, right)
    edges = np.linspace(0, 1, bins + 1)
    at = _bin(p, bins)
    rows = []
    for i in range(bins):
        inside = at == i
        n = int(inside.sum())
        mean, share = (float(p[inside].mean()), float(y[inside].mean())) if n else (float("nan"),) * 2
        rows.append(Bin(float(edges[i]), float(edges[i + 1]), n, mean, share))
    return rows


@measure(
    "calibration_error",
    formula="Σ_bins (n_b / n) |accuracy_b - confidence_b|",
    checked="scikit-learn's calibration_curve",
    better="low",
)
def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """How far confidence and accuracy lie apart, over bins weighted by their answers (ECE)."""
    p, y = _pair(confidence, right)
    gaps = np.bincount(_bin(p, bins), weights=y - p, minlength=bins)
    return float(abs(gaps).sum() / len(p))


@measure(
    "brier_score",
    formula="mean (confidence - right)²",
    checked="scikit-learn's brier_score_loss",
    better="low",
)
def brier_score(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean squared error of the confidence: calibration and sharpness in one, without bins."""
    p, y = _pair(confidence, right)
    return float(((p - y) ** 2).mean())


def ascii_diagram(rows: Sequence[Bin], width: int = 40) -> list[str]:
    """A reliability diagram for a terminal: `#` the accuracy, `|` the confidence."""
    lines = []
    for row in rows:
        if row.n:
            bar = list("#" * round(row.accuracy * width) + " " * (width + 1 - round(row.accuracy * width)))
            bar[round(row.confidence * width)] = "|"
            lines.append(f"{row.low:.1f}-{row.high:.1f}  {''.join(bar).rstrip()}  n={row.n}")
    return lines


def _bin(p: Floats, bins: int) -> NDArray[np.intp]:
    """Bins are open below and closed above, the first one closed on both sides."""
    found: NDArray[np.intp] = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p, side="left")
    return found


def _pair(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    p, y = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    known = np.isfinite(p) & np.isfinite(y) if p.shape == y.shape else np.zeros(0, bool)
    if p.shape != y.shape or not known.any():
        raise BadInput(f"{p.size} confidences and {y.size} answers", hint="give one confidence for each answer")
    p, y = p[known], y[known]
    if ((p < 0) | (p > 1)).any():
        raise BadInput("a confidence lies outside [0, 1]", hint="give probabilities, not logits")
    return p, y
