"""What a step's logits become: a token for each row, and the log-probabilities that were asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.engine.sampling import Likely, Row, logprobs, penalised, sample
from idiolect.engine.sequence import Sequence

Choice = tuple[list[int], list[Likely | None]]  # a token of each row, and what was asked to be known of it


def row(seq: Sequence, logits: Tensor) -> Row:
    if penalised(seq.sampling) and seq.counts is None:
        seq.counts = torch.zeros(logits.shape[1], device=logits.device)
        seq.seen = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        seq.seen[torch.tensor(seq.tokens[seq.virtual :], device=logits.device)] = True
    return Row(seq.sampling, seq.seed, seq.n_index, seq.generated, seq.seen, seq.counts)


@torch.no_grad()
def choose(choosing: list[Sequence], logits: Tensor | None) -> Choice:
    """[M, V] logits of the sequences that choose a token now."""
    if logits is None:
        return [], []
    chosen = sample(logits, [row(seq, logits) for seq in choosing])
    likely: list[Likely | None] = [None] * len(choosing)
    rows = [i for i, seq in enumerate(choosing) if seq.sampling.logprobs is not None]
    if rows:
        everyone = len(rows) == len(choosing)
        index = torch.tensor(rows, device=chosen.device)
        found = logprobs(
            logits if everyone else logits[index],
            chosen if everyone else chosen[index],
            [choosing[i].sampling.logprobs or 0 for i in rows],
        )
        for i, known in zip(rows, found, strict=True):
            likely[i] = known
    return chosen.tolist(), likely
