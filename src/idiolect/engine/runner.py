"""Runs one step's work through the model: the packed batch, and logits for the rows that are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.engine.kv import KVCache, PagedState
from idiolect.engine.scheduler import Work
from idiolect.engine.sequence import Sequence
from idiolect.models.base import CausalModel
from idiolect.nn.batch import Batch

SCORE_ROWS = 128  # rows of logits that exist at once while scoring: bounds memory at 128 x V floats


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of the hidden state that score a piece of a sequence: `targets[i]` follows row `first + i`."""

    seq: Sequence
    first: int
    targets: list[int]


class Step:
    """What a forward pass left: the sequences that choose a token now, with their logits [M, V], and what to score."""

    def __init__(
        self, model: CausalModel, hidden: Tensor, last: list[tuple[Sequence, int]], scored: list[Wanted]
    ) -> None:
        self._model, self._hidden = model, hidden
        self.choosing = [seq for seq, _ in last]
        self.logits = model.logits(_pick(hidden, [row for _, row in last])) if last else None
        self._scored = scored

    def scores(self) -> Iterator[tuple[list[tuple[Sequence, int]], Tensor]]:
        """Pieces of ((sequence, target id) per row, logits [m, V]), m at most `SCORE_ROWS`."""
        rows = [(w.seq, w.first + i, target) for w in self._scored for i, target in enumerate(w.targets)]
        for begin in range(0, len(rows), SCORE_ROWS):
            part = rows[begin : begin + SCORE_ROWS]
            yield (
                [(seq, target) for seq, _, target in part],
                self._model.logits(_pick(self._hidden, [row for _, row, _ in part])),
            )


def _pick(hidden: Tensor, rows: list[int]) -> Tensor:
    if len(rows) == hidden.shape[0]:  # every row of a decode step, in order
        return hidden
    if rows[-1] - rows[0] + 1 == len(rows):
        return hidden[rows[0] : rows[-1] + 1]
    return hidden[torch.tensor(rows, device=hidden.device)]


class Runner:
    """The model side of the engine. Must be called under `torch.inference_mode`."""

    def __init__(self, model: CausalModel, cache: KVCache) -> None:
        self.model = model
        self.cache = cache
        self.device = model.device

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"torch {self.device} {str(self.model.dtype).removeprefix('torch.')}{threads}"

    def run(self, work: list[Work]) -> Step:
        """One forward pass. The caches are extended; the caller advances `computed` when it succeeds."""
        ids: list[int] = []
        pos: list[int] = []
        bounds = [0]
        last: list[tuple[Sequence, int]] = []
        scored: list[Wanted] = []
        for item in work:
            seq, start, end = item.seq, item.seq.computed, item.seq.computed + item.count
            ids += seq.tokens[start:end]
            pos += range(start, end)
            if seq.lane == "score":
                # Row p predicts token p + 1; what an earlier chunk found is not asked for again.
                begin = max(start, seq.score_start + len(seq.infos) - 1)
                if begin < end:
                    scored.append(Wanted(seq, bounds[-1] + begin - start, seq.tokens[begin + 1 : end + 1]))
            elif item.completes:
                last.append((seq, bounds[-1] + item.count - 1))
            bounds.append(bounds[-1] + item.count)
        state = PagedState(
            self.cache, [w.seq.lease for w in work], [w.seq.computed for w in work], [w.count for w in work]
        )
        batch = Batch(
            ids=torch.tensor(ids, dtype=torch.int64, device=self.device),
            pos=torch.tensor(pos, dtype=torch.int64, device=self.device),
            cu=torch.tensor(bounds, dtype=torch.int32, device=self.device),
            bounds=tuple(bounds),
            state=state,
        )
        return Step(self.model, self.model.hidden(batch), last, scored)
