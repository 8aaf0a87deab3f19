"""Runs one step's work on an NVIDIA GPU: the recorded program in Triton kernels, replayed as a CUDA graph.

A step whose sequences use adapters is computed by the model's own module, over the same pages and with the same
attention kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.core.errors import Unavailable
from idiolect.cuda.available import missing
from idiolect.engine.adapters import Served
from idiolect.engine.choosing import Choice, choose
from idiolect.engine.config import EngineConfig
from idiolect.engine.runner import SCORE_ROWS, Wanted, gather, pages_for
from idiolect.engine.scheduler import Work
from idiolect.engine.sequence import Sequence
from idiolect.models.base import CausalModel
from idiolect.nn.batch import Batch
from idiolect.nn.delta import groups_of, routed

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
FORMS = {"stored": "float", "q8": "q8", "q4": "q4"}
WORDS = {"float": "", "q8": " int8 weights,", "q4": " int4 weights,"}
Head = Callable[[list[Sequence], list[int]], Tensor]  # rows of the step -> logits [m, V]


class CudaStep:
    """The logits are in a graph's memory until the next step."""

    def __init__(self, choosing: list[Sequence], logits: Tensor | None, scored: list[Wanted], head: Head) -> None:
        self.choosing, self.logits, self._scored, self._head = choosing, logits, scored, head

    def choose(self) -> Choice:
        return choose(self.choosing, self.logits)

    @torch.inference_mode()
    def scores(self) -> Iterator[tuple[list[tuple[Sequence, int]], Tensor]]:
        rows = [(w.seq, w.first + i, target) for w in self._scored for i, target in enumerate(w.targets)]
        for begin in range(0, len(rows), SCORE_ROWS):
            part = rows[begin : begin + SCORE_ROWS]
            logits = self._head([seq for seq, _, _ in part], [row for _, row, _ in part])
            yield [(seq, target) for seq, _, target in part], logits


class CudaRunner:
    """The model side of the engine on a GPU. Raises `Unavailable` (no GPU, no Triton, a dtype without kernels) or
    `NotRecordable` (the model does what the recording does not know)."""

    ahead = True

    def __init__(self, model: CausalModel, config: EngineConfig) -> None:
        if why := missing(model.device):
            raise Unavailable(why, hint="runner: torch computes anywhere")
        if model.dtype not in DTYPES:
            raise Unavailable(f"the kernels know no {str(model.dtype).removeprefix('torch.')}", hint="load as bfloat16")
        from idiolect.cuda import attention
        from idiolect.cuda.program import Program
        from idiolect.engine.cuda_graphs import Desk, Graphs, Size
        from idiolect.engine.cuda_kv import CudaKV

        self.model, self.device = model, model.device
        specs = model.state_specs()
        pages = pages_for(config, CudaKV.bytes_per_page(specs, config.page_size, model.dtype))
        positions = min(model.context, pages * config.page_size, config.context or model.context)
        form = FORMS[config.weights]
        self._program = program = Program(model, positions, form)  # type: ignore[arg-type]
        self.cache = cache = CudaKV(specs, pages, config.page_size, dtype=model.dtype, device=model.device)
        self._most = config.step_tokens
        stride = -(-positions // config.page_size) + 1
        self._desk = desk = Desk(config.step_tokens, min(config.step_tokens * stride, 4 * pages + stride), model.device)
        self._tables: dict[int, tuple[list[int], NDArray[np.int32]]] = {}
        heads = specs[0].kv_heads

        def compute(size: Size) -> tuple[Tensor, Tensor]:
            feed, rows = desk.feed(size, attention.parts_for(size.segments, heads, positions))
            root = program.run(feed, cache.layers)
            return root, program.head(root if feed.blocks is None else root[rows])

        self._graphs = Graphs(compute, model.device)
        kind = str(model.dtype).removeprefix("torch.")
        where = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else str(model.device)
        self._name = f"cuda {where} {kind},{WORDS[form]} {program.length} operations a step as one CUDA graph, triton"

    def __str__(self) -> str:
        return self._name

    @property
    def weight_bytes(self) -> int:
        """Of every matrix that a step multiplies with."""
        return self._program.bytes

    @property
    def graphs(self) -> int:
        """Sizes of steps that are recorded by now."""
        return self._graphs.count

    def add(self, served: Served) -> None:
        """Every kind of adapter can be served here."""

    def drop(self, served: Served) -> None:
        """Nothing is kept of it."""

    @torch.inference_mode()
    def run(self, work: list[Work]) -> CudaStep:
        """Puts one forward pass into the GPU's queue."""
        ids, pos, bounds, last, scored = gather(work)
        tables = self._pages(work)
        choosing = [seq for seq, _ in last]
        if any(item.seq.served is not None for item in work) or sum(map(len, tables)) > self._desk.pages:
            return self._module(work, ids, pos, bounds, last, scored)
        from idiolect.cuda.attention import blocks_of
        from idiolect.engine.cuda_graphs import size_of

        counts = [item.count for item in work]
        size = size_of(counts, self._most)
        page = self.cache.page_size
        where = np.asarray(pos, np.int32)
        if size.blocks == 0:
            own = np.array([t[p // page] for t, p in zip(tables, pos, strict=True)], np.int32)
            blocks: list[int] = []
        else:
            own = np.concatenate([t[where[a:b] // page] for t, a, b in zip(tables, bounds, bounds[1:])])
            blocks = blocks_of(counts, [item.seq.computed for item in work])
        ends = np.asarray(bounds[1:], np.int32)
        sizes = np.array([len(t) for t in tables], np.int32)
        starts = np.concatenate((np.zeros(1, np.int32), np.cumsum(sizes[:-1], dtype=np.int32)))
        lengths = where[ends - 1] + 1
        parts = [np.asarray(ids, np.int32), where, own * page + where % page, starts, lengths, ends - 1]
        self._desk.lay(size, [*parts, np.asarray(blocks, np.int32)], np.concatenate(tables))
        root, logits = self._graphs.run(size)
        picked: Tensor | None = None
        if last:
            among = {end: i for i, end in enumerate((ends - 1).tolist())}
            rows = [among[row] for _, row in last]
            picked = logits[: len(rows)] if rows == list(range(len(rows))) else logits[_index(rows, self.device)]
        program, device = self._program, self.device
        return CudaStep(choosing, picked, scored, lambda _, rows: program.head(root[_index(rows, device)]))

    def _pages(self, work: list[Work]) -> list[NDArray[np.int32]]:
        """The page numbers of each sequence, kept as an array while its list of pages does not change."""
        kept = {}
        for item in work:
            pages = item.seq.lease.pages
            old = self._tables.get(item.seq.arrival)
            if old is None or old[0] is not pages or len(old[1]) != len(pages):
                old = (pages, np.asarray(pages, np.int32))
            kept[item.seq.arrival] = old
        self._tables = kept
        return [kept[item.seq.arrival][1] for item in work]

    def _module(
        self,
        work: list[Work],
        ids: list[int],
        pos: list[int],
        bounds: list[int],
        last: list[tuple[Sequence, int]],
        scored: list[Wanted],
    ) -> CudaStep:
        """The step in the model's own module, each row through its sequence's adapter."""
        from idiolect.engine.cuda_kv import CudaState

        leases = [item.seq.lease for item in work]
        counts = [item.count for item in work]
        batch = Batch(
            ids=torch.tensor(ids, device=self.device),
            pos=torch.tensor(pos, device=self.device),
            cu=torch.tensor(bounds, dtype=torch.int32, device=self.device),
            bounds=tuple(bounds),
            state=CudaState(self.cache, leases, [item.seq.computed for item in work], counts),
        )
        with routed(groups_of([item.seq.served for item in work], counts, self.device)):
            hidden = self.model.hidden(batch)

        def head(seqs: list[Sequence], rows: list[int]) -> Tensor:
            with routed(groups_of([seq.served for seq in seqs], None, self.device)):
                return self.model.logits(hidden[_index(rows, self.device)])

        choosing, rows = [seq for seq, _ in last], [row for _, row in last]
        return CudaStep(choosing, head(choosing, rows) if rows else None, scored, head)


def _index(rows: list[int], device: torch.device) -> Tensor:
    return torch.tensor(rows, device=device)
