"""Texts that a model finds too easy: a sign of training on them, and never a proof.

- `min_k`: the mean log-probability of a text's k % least likely tokens; a text that was seen has few real surprises
  (Shi et al. 2023, "Detecting pretraining data from large language models", arXiv:2310.16789).
- `suspicion`: bits per byte that the model saves against a reference model, or against zlib when there is none
  (Carlini et al. 2021, arXiv:2012.07805). The reference takes out that some texts are easy for everybody.

An item stands out against the other items, by the modified z-score of Iglewicz and Hoaglin (1993). When all items were
trained on none stands out: compare the mean gain with that on new texts of the same kind.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate

OUTLIER = 3.5  # of the modified z-score
SHARE = 0.2


def min_k(logprobs: ArrayLike, share: float = SHARE) -> float:
    """The mean of the lowest `share` of a text's token log-probabilities (at least one token); higher is more
    suspicious."""
    values = np.sort(np.asarray(logprobs, np.float64))
    if not len(values) or not 0 < share <= 1:
        raise BadInput(f"min-k of {len(values)} tokens with a share of {share}", hint="give tokens, and 0 < share <= 1")
    return float(values[: max(1, math.floor(share * len(values)))].mean())


@dataclass(frozen=True, slots=True)
class Suspect:
    """`gain` is bits per byte saved against the reference; `z` how far that lies above the other items."""

    item: int
    gain: float
    z: float
    min_k: float

    @property
    def stands_out(self) -> bool:
        return self.z > OUTLIER


@dataclass(frozen=True, slots=True)
class Suspicion:
    """All items in their order, and the mean gain with its interval."""

    items: tuple[Suspect, ...]
    gain: Estimate
    reference: str

    @property
    def outliers(self) -> tuple[Suspect, ...]:
        return tuple(sorted((s for s in self.items if s.stands_out), key=lambda s: -s.z))


def suspicion(
    texts: Sequence[str],
    logprobs: Sequence[ArrayLike],
    reference: Sequence[ArrayLike] | None = None,
    *,
    share: float = SHARE,
    name: str = "the reference",
) -> Suspicion:
    """Compare the token log-probabilities (natural log) of each text under the model with those under a reference."""
    if len(texts) != len(logprobs) or not texts or (reference is not None and len(reference) != len(texts)):
        raise BadInput(f"{len(texts)} texts and {len(logprobs)} lists of log-probabilities", hint="give one for each")
    sizes = np.array([max(1, len(t.encode("utf-8", "replace"))) for t in texts], np.float64)
    own = bits(logprobs) / sizes
    if reference is None:
        other, name = np.array([8 * _packed(t) for t in texts]) / sizes, "zlib"
    else:
        other = bits(reference) / sizes
    gain = other - own
    z = modified_z(gain)
    rows = [
        Suspect(i, float(g), float(s), min_k(p, share))
        for i, (g, s, p) in enumerate(zip(gain, z, logprobs, strict=True))
    ]
    return Suspicion(tuple(rows), bootstrap(gain), name)


def bits(logprobs: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """[n] bits of each text."""
    return np.array([-float(np.sum(p)) / math.log(2) for p in logprobs])


def modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.6745 (x - median) / median absolute deviation: outliers do not hide themselves, as they do in a plain z."""
    away = values - np.median(values)
    spread = float(np.median(abs(away)))
    if spread == 0:
        return np.where(away == 0, 0.0, np.copysign(np.inf, away))
    scaled: NDArray[np.float64] = 0.6745 * away / spread
    return scaled


def _packed(text: str) -> int:
    """Bytes of the text compressed, without what an empty text needs."""
    return len(zlib.compress(text.encode("utf-8", "replace"), 9)) - len(zlib.compress(b"", 9))
