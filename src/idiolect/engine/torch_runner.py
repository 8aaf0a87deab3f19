"""Runs one step's work through the torch module: the packed batch, and logits for the rows that are wanted."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from idiolect.engine.adapters import Served
from idiolect.engine.choosing import Choice, choose
from idiolect.engine.config import EngineConfig
from idiolect.engine.kv import KVCache, PagedState
from idiolect.engine.runner import SCORE_ROWS, Wanted, gather, pages_for
from idiolect.engine.scheduler import Work
from idiolect.engine.sequence import Sequence
from idiolect.models.base import CausalModel
from idiolect.nn.batch import Batch
from idiolect.nn.delta import groups_of, routed


class TorchStep:
    """What a forward pass left: the sequences that choose a token now, with their logits [M, V], and what to score."""

    def __init__(
        self, model: CausalModel, hidden: Tensor, last: list[tuple[Sequence, int]], scored: list[Wanted]
    ) -> None:
        self._model, self._hidden = model, hidden
        self.choosing = [seq for seq, _ in last]
        self.logits = self._head(self.choosing, [row for _, row in last]) if last else None
        self._scored = scored

    def choose(self) -> Choice:
        return choose(self.choosing, self.logits)

    @torch.inference_mode()
    def scores(self) -> Iterator[tuple[list[tuple[Sequence, int]], Tensor]]:
        """Pieces of ((sequence, target id) per row, logits [m, V]), m at most `SCORE_ROWS`."""
        rows = [(w.seq, w.first + i, target) for w in self._scored for i, target in enumerate(w.targets)]
        for begin in range(0, len(rows), SCORE_ROWS):
            part = rows[begin : begin + SCORE_ROWS]
            logits = self._head([seq for seq, _, _ in part], [row for _, row, _ in part])
            yield [(seq, target) for seq, _, target in part], logits

    def _head(self, seqs: list[Sequence], rows: list[int]) -> Tensor:
        with routed(groups_of([seq.served for seq in seqs], None, self._hidden.device)):
            return self._model.logits(_pick(self._hidden, rows))


def _pick(hidden: Tensor, rows: list[int]) -> Tensor:
    if len(rows) == hidden.shape[0]:  # every row of a decode step, in order
        return hidden
    if rows[-1] - rows[0] + 1 == len(rows):
        return hidden[rows[0] : rows[-1] + 1]
    return hidden[torch.tensor(rows, device=hidden.device)]


class TorchRunner:
    """The model side of the engine in torch."""

    ahead = False

    def __init__(self, model: CausalModel, config: EngineConfig, reason: str = "") -> None:
        """Reserves the memory for keys and values. `reason`: why a faster runner does not serve."""
        self.model, self.device, self._reason = model, model.device, reason
        specs = model.state_specs()
        pages = pages_for(config, KVCache.bytes_per_page(specs, config.page_size, model.dtype))
        self.cache = KVCache(specs, pages, config.page_size, dtype=model.dtype, device=model.device)

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        faster = "cuda" if self.device.type == "cuda" else "native"
        why = f" (not {faster}: {self._reason})" if self._reason else ""
        return f"torch {self.device} {str(self.model.dtype).removeprefix('torch.')}{threads}{why}"

    def add(self, served: Served) -> None:
        """Every kind of adapter can be served here."""

    def drop(self, served: Served) -> None:
        """Nothing is kept of it."""

    @torch.inference_mode()
    def run(self, work: list[Work]) -> TorchStep:
        """One forward pass. The caches are extended; the caller advances `computed` when it succeeds."""
        ids, pos, bounds, last, scored = gather(work)
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
        with routed(groups_of([w.seq.served for w in work], [w.count for w in work], self.device)):
            hidden = self.model.hidden(batch)
        return TorchStep(self.model, hidden, last, scored)
