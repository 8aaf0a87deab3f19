"""One step's choice for every row, in the documented order, with each part skipped when no row asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.core.call import Sampling
from idiolect.engine.sampling.draw import draw, uniform
from idiolect.engine.sampling.penalties import count_penalties, logit_bias, repetition_penalty
from idiolect.engine.sampling.truncate import truncate


@dataclass(frozen=True, slots=True)
class Row:
    """How to choose one token. `seen` [V] bool and `counts` [V] float32 are only read when a penalty is on."""

    sampling: Sampling
    seed: int
    choice: int  # which of the n choices of a request
    index: int  # how many tokens came before it in the answer
    seen: Tensor | None = None
    counts: Tensor | None = None


COLD = 1e-5  # a temperature below this is greedy: dividing by it would only overflow


def penalised(s: Sampling) -> bool:
    """Whether the choice depends on the tokens so far."""
    return s.repetition_penalty != 1.0 or s.frequency_penalty != 0.0 or s.presence_penalty != 0.0


def sample(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Raw logits [M, V] -> ids [M]. Temperature 0 (below 1e-5) takes the most likely one after bias and penalties."""
    settings = [r.sampling for r in rows]
    if any(s.logit_bias for s in settings):
        logits = _biased(logits.float(), settings)
    if any(penalised(s) for s in settings):
        logits = _penalised(logits.float(), rows)
    warm = [i for i, s in enumerate(settings) if s.temperature > COLD]
    if not warm:
        return best(logits)
    if len(warm) == len(rows):
        return _drawn(logits.float(), rows)
    chosen = best(logits)
    index = torch.tensor(warm, device=logits.device)
    chosen[index] = _drawn(logits[index].float(), [rows[i] for i in warm])
    return chosen


def best(logits: Tensor) -> Tensor:
    """The most likely token of each row, the lowest id among equals. [M, V] -> [M].

    On a CPU through NumPy, whose argmax is vectorised: 16 rows of 49,152 take 0.1 ms, torch's 0.4 ms in float32 and
    2.6 ms in bfloat16.
    """
    if logits.device.type != "cpu":
        return logits.argmax(1)
    return torch.from_numpy(logits.float().numpy().argmax(1))


def _known(value: Tensor | None) -> Tensor:
    assert value is not None, "a row with a penalty needs `seen` and `counts`"
    return value


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _biased(logits: Tensor, settings: list[Sampling]) -> Tensor:
    entries = [(i, t, b) for i, s in enumerate(settings) for t, b in s.logit_bias.items()]
    where = torch.tensor([(i, t) for i, t, _ in entries], device=logits.device)
    return logit_bias(logits, where[:, 0], where[:, 1], _column([b for _, _, b in entries], logits))


def _penalised(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Only the rows that ask are touched, so that another row's penalty cannot change a single bit of theirs."""
    asked = [i for i, r in enumerate(rows) if penalised(r.sampling)]
    index = torch.tensor(asked, device=logits.device)
    part = logits[index]
    chosen = [rows[i] for i in asked]
    if any(r.sampling.repetition_penalty != 1.0 for r in chosen):
        seen = torch.stack([_known(r.seen) for r in chosen])
        part = repetition_penalty(part, seen, _column([r.sampling.repetition_penalty for r in chosen], part)[:, None])
    if any(r.sampling.frequency_penalty or r.sampling.presence_penalty for r in chosen):
        counts = torch.stack([_known(r.counts) for r in chosen])
        frequency = _column([r.sampling.frequency_penalty for r in chosen], part)[:, None]
        part = count_penalties(
            part, counts, frequency, _column([r.sampling.presence_penalty for r in chosen], part)[:, None]
        )
    return logits.index_copy(0, index, part)


def _drawn(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    settings = [r.sampling for r in rows]
    if any(s.temperature != 1.0 for s in settings):
        logits = logits / _column([s.temperature for s in settings], logits)[:, None]
    if any(s.top_k or s.top_p < 1.0 or s.min_p for s in settings):
        top_k = torch.tensor([s.top_k for s in settings], dtype=torch.int64, device=logits.device)
        logits = truncate(
            logits, top_k, _column([s.top_p for s in settings], logits), _column([s.min_p for s in settings], logits)
        )
    return draw(logits, [uniform(r.seed, r.choice, r.index) for r in rows])
