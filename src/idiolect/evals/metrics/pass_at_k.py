"""pass@k without bias (Chen et al. 2021, "Evaluating large language models trained on code", arXiv:2107.03374).

Of `n` samples of a problem `c` passed its tests. The chance that k samples drawn from them hold none that passed is
C(n - c, k) / C(n, k); 1 - (1 - c/n)^k would be too low.
"""

from __future__ import annotations

import math

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.registry import measure


@measure(
    "pass_at_k",
    formula="1 - C(n - c, k) / C(n, k)",
    checked="the mean over all subsets of k samples",
)
def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k samples passes, from `c` of `n` that did."""
    if not (0 <= c <= n and 1 <= k <= n):
        raise BadInput(f"pass@{k} of {c} passed in {n} samples", hint="give 0 <= passed <= n and 1 <= k <= n")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)
