"""Top-k, top-p and min-p: which tokens may be drawn.

Each rule keeps the tokens at or above some logit, so together they are one threshold per row. Tokens that tie with
the last one kept are kept too: the result then does not depend on how a sort broke the tie (ties are common in
bfloat16).
"""

from __future__ import annotations

import torch
from torch import Tensor

NUCLEUS = 1024  # top-p looks at this many tokens first, and sorts the whole row only when they do not hold enough


def truncate(logits: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """[M, V] float32 logits after temperature -> the same with every token that is out set to -inf.

    `top_k` [M] int64, 0 is off: the k most likely tokens (Fan et al. 2018, arXiv:1805.04833). `top_p` [M], 1 is off:
    of those, renormalised, the smallest set of the most likely ones that holds at least p (Holtzman et al. 2020,
    arXiv:1904.09751). `min_p` [M], 0 is off: tokens with at least min_p times the probability of the most likely one
    (Nguyen et al. 2024, arXiv:2407.01082). The most likely token always stays.
    """
    vocabulary = logits.shape[1]
    low = logits.new_full((logits.shape[0],), float("-inf"))
    k = int(top_k.max())
    if k > 0:
        k = min(k, vocabulary)
        best = logits.topk(k, dim=1).values  # [M, k], sorted
        last = best.gather(1, (top_k.clamp(1, k) - 1)[:, None])[:, 0]
        low = torch.where((top_k > 0) & (top_k < vocabulary), last, low)
    if float(top_p.min()) < 1.0:
        low = torch.maximum(low, _nucleus(logits, low, top_p))
    if float(min_p.max()) > 0.0:
        low = torch.maximum(low, torch.where(min_p > 0, logits.amax(1) + min_p.log(), low))
    return logits.masked_fill(logits < low[:, None], float("-inf"))


def _nucleus(logits: Tensor, low: Tensor, top_p: Tensor) -> Tensor:
    """The smallest logit inside each row's nucleus [M], among the tokens at or above `low`; -inf where top-p is off."""
    total = logits.masked_fill(logits < low[:, None], float("-inf")).logsumexp(1, keepdim=True)
    size = min(NUCLEUS, logits.shape[1])
    values = logits.topk(size, dim=1).values
    for attempt in (0, 1):
        values = values.masked_fill(values < low[:, None], float("-inf"))
        mass = (values - total).exp().double().cumsum(1)
        enough = mass[:, -1] >= top_p
        if attempt == 0 and size < logits.shape[1] and not bool((enough | (top_p >= 1.0)).all()):
            values = logits.sort(dim=1, descending=True).values
            continue
        break
    before = mass - (values - total).exp()  # mass of the strictly better ones: a token is in while this is under p
    kept = (before < top_p[:, None]) & (values > float("-inf"))
    count = kept.sum(1).clamp(min=1)
    last = values.gather(1, (count - 1)[:, None])[:, 0]
    return torch.where(top_p < 1.0, last, torch.full_like(last, float("-inf")))
