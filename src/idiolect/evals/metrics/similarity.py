"""Semantic similarity: the cosine of two texts' embeddings (Reimers and Gurevych 2019, arXiv:1908.10084).

The encoder is whatever is passed in, and its name belongs beside every figure: cosines of different encoders do not
compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure

Encoder = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts to their vectors [n, D]; they need not have length 1."""


@measure(
    "embedding_similarity",
    formula="u · v / (‖u‖ ‖v‖)",
    checked="scikit-learn's cosine_similarity",
    low=-1.0,
)
def embedding_similarity(answers: Sequence[str], references: Sequence[str], encoder: Encoder) -> NDArray[np.float64]:
    """[n] cosine of each answer with its reference; 0 where a vector is zero."""
    if len(answers) != len(references):
        raise BadInput(f"{len(answers)} answers and {len(references)} references", hint="give one reference each")
    if not answers:
        return np.zeros(0)
    u, v = (np.asarray(encoder(list(texts)), np.float64) for texts in (answers, references))
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    found: NDArray[np.float64] = np.where(lengths > 0, (u * v).sum(1) / np.maximum(lengths, 1e-300), 0.0)
    return np.clip(found, -1.0, 1.0)
