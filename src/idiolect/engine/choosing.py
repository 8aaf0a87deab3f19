"""What a step's logits become: the settings of each row's choice, and the log-probabilities that were asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.engine.runner import Step
from idiolect.engine.sampling import Likely, Row, logprobs, penalised
from idiolect.engine.sequence import Sequence


def row(seq: Sequence, logits: Tensor) -> Row:
    if penalised(seq.sampling) and seq.counts is None:
        seq.counts = torch.zeros(logits.shape[1], device=logits.device)
        seq.seen = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        seq.seen[torch.tensor(seq.tokens[seq.virtual :], device=logits.device)] = True
    return Row(seq.sampling, seq.seed, seq.n_index, seq.generated, seq.seen, seq.counts)


def likely_of(step: Step, chosen: Tensor) -> dict[int, Likely]:
    rows = [i for i, seq in enumerate(step.choosing) if seq.sampling.logprobs is not None]
    if not rows or step.logits is None:
        return {}
    everyone = len(rows) == len(step.choosing)
    index = torch.tensor(rows, device=chosen.device)
    found = logprobs(
        step.logits if everyone else step.logits[index],
        chosen if everyone else chosen[index],
        [step.choosing[i].sampling.logprobs or 0 for i in rows],
    )
    return {step.choosing[i].id: likely for i, likely in zip(rows, found, strict=True)}
