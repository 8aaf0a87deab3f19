"""Token F1 of an answer and a reference, as SQuAD counts it (Rajpurkar et al. 2016, arXiv:1606.05250)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from idiolect.evals.metrics.exact import normalise, several
from idiolect.evals.metrics.registry import measure


@measure(
    "token_f1",
    formula="2 P R / (P + R) over the bags of normalised words; the best reference counts",
    checked="lm-eval's SQuAD metrics; scikit-learn's f1_score on the words as labels",
)
def token_f1(answer: str, references: str | Sequence[str]) -> float:
    """How far the words of the answer and of the nearest reference are the same, whatever their order."""
    return max((_one(answer, r) for r in several(references)), default=0.0)


def _one(answer: str, reference: str) -> float:
    said, wanted = normalise(answer).split(), normalise(reference).split()
    if not said or not wanted:
        return float(said == wanted)
    both = (Counter(said) & Counter(wanted)).total()
    return 2 * both / (len(said) + len(wanted))
