"""From logits to tokens.

The order is the field's usual one (transformers' and vLLM's): logit bias, repetition penalty, frequency and presence
penalties, temperature, top-k, top-p, min-p, draw. Each step is a small function over all rows [M, V] at once, and is
skipped when no row asks for it. Reported log-probabilities are those of the model itself: log-softmax of the raw
logits, before bias, penalties and temperature, so that they equal the ones a trainer computes and do not depend on
how the token was chosen.
"""

from idiolect.engine.sampling.draw import draw, uniform
from idiolect.engine.sampling.logprobs import Likely, logprobs
from idiolect.engine.sampling.penalties import count_penalties, logit_bias, repetition_penalty
from idiolect.engine.sampling.sampler import COLD, Row, penalised, sample
from idiolect.engine.sampling.truncate import truncate

__all__ = [
    "COLD",
    "Likely",
    "Row",
    "count_penalties",
    "draw",
    "logit_bias",
    "logprobs",
    "penalised",
    "repetition_penalty",
    "sample",
    "truncate",
    "uniform",
]
