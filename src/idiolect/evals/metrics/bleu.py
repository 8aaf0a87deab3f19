"""BLEU (Papineni et al. 2002) by sacrebleu (Post 2018, arXiv:1804.08771; the extra `evals`).

The score of a corpus is made of sums over its sentences, not a mean of sentence scores. `parts` gives a sentence's
ten counts, `of_parts` the score of their sums, so that a bootstrap can draw sentences (`bleu_interval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idiolect.core.errors import Unavailable
from idiolect.evals.metrics.exact import several
from idiolect.evals.metrics.registry import measure
from idiolect.evals.stats.bootstrap import bootstrap
from idiolect.evals.stats.estimate import Estimate

ORDER = 4


def parts(answer: str, references: str | Sequence[str], tokenize: str = "13a") -> NDArray[np.float64]:
    """[10]: matched n-grams (n = 1 to 4), n-grams of the answer, its words, words of the nearest reference."""
    score = _scorer(tokenize).sentence_score(answer, list(several(references)))
    return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len], np.float64)


def of_parts(rows: ArrayLike) -> float:
    """BLEU, 0 to 100, of the sentences whose `parts` [n, 10] are given."""
    sums = np.asarray(rows, np.float64).reshape(-1, 2 * ORDER + 2).sum(0).astype(int).tolist()
    kind = _library().metrics.BLEU
    return float(kind.compute_bleu(sums[:ORDER], sums[ORDER : 2 * ORDER], sums[-2], sums[-1]).score)


@measure(
    "bleu",
    formula="min(1, e^(1 - r/c)) · (Π pₙ)^(1/4), n = 1 to 4, over the corpus",
    checked="sacrebleu.corpus_bleu",
    high=100.0,
)
def bleu(answers: Sequence[str], references: Sequence[str | Sequence[str]], tokenize: str = "13a") -> float:
    """n-gram precision of a corpus with a penalty for short answers, 0 to 100. `references[i]` belong to answer i."""
    return of_parts([parts(a, r, tokenize) for a, r in zip(answers, references, strict=True)])


def bleu_interval(rows: ArrayLike, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """The corpus score with its bootstrap interval over sentences (Koehn 2004), from their `parts` [n, 10]."""
    return bootstrap(rows, of_parts, draws=draws, seed=seed)


@lru_cache(maxsize=8)
def _scorer(tokenize: str) -> Any:
    return _library().metrics.BLEU(tokenize=tokenize, effective_order=True)


def _library() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise Unavailable("BLEU and chrF need sacrebleu", hint="pip install 'idiolect[evals]'") from None
    return sacrebleu
