"""Runs one step's work as one native call: the recorded program over paged keys and values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.core.errors import Unavailable
from idiolect.engine.adapters import Served
from idiolect.engine.choosing import Choice, row
from idiolect.engine.config import EngineConfig
from idiolect.engine.native_adapters import Table
from idiolect.engine.native_desk import Desk
from idiolect.engine.native_kv import NativeKV
from idiolect.engine.runner import Wanted, gather, pages_for
from idiolect.engine.sampling import Likely, sample
from idiolect.engine.scheduler import Work
from idiolect.engine.sequence import Sequence
from idiolect.models.base import CausalModel
from idiolect.native.library import LINEAR, Step, library
from idiolect.native.lower import Plan
from idiolect.native.matrices import describe
from idiolect.native.program import Program, Team, record
from idiolect.native.tiles import Tiles

SCORE_ROWS = 64  # rows of logits that exist at once while scoring


class NativeStep:
    """A step at work. The choosing sequences' logits are in the runner's buffer until the next one."""

    def __init__(self, runner: NativeRunner, choosing: list[Sequence], scored: list[Wanted]) -> None:
        self._runner, self.choosing, self._scored = runner, choosing, scored

    def choose(self) -> Choice:
        return self._runner.choose(self.choosing)

    def scores(self) -> Iterator[tuple[list[tuple[Sequence, int]], Tensor]]:
        rows = [(w.seq, w.first + i, target) for w in self._scored for i, target in enumerate(w.targets)]
        for begin in range(0, len(rows), SCORE_ROWS):
            part = rows[begin : begin + SCORE_ROWS]
            yield [(seq, target) for seq, _, target in part], self._runner.head([row for _, row, _ in part])


class NativeRunner:
    """The model side of the engine in native kernels. Raises `Unavailable` (no compiler, another device) or
    `NotRecordable` (the model does what the recording does not know)."""

    ahead = True

    def __init__(self, model: CausalModel, config: EngineConfig) -> None:
        if model.device.type != "cpu":
            raise Unavailable(f"the native runner is for the CPU, and the model is on {model.device}")
        self._lib = lib = library()
        quantise = None if config.weights == "stored" else config.weights
        plan = record(model, min(model.context, config.context or model.context), quantise)
        int8, shape = config.kv == "int8", (plan.layers, plan.kv_heads, plan.dim)
        pages = pages_for(config, NativeKV.bytes_per_page(*shape, config.page_size, int8=int8))
        self.cache = NativeKV(*shape, pages, config.page_size, int8=int8)
        positions = min(model.context, pages * config.page_size, config.context or model.context)
        self._team = Team(lib, config.threads or torch.get_num_threads())
        self._program = Program(lib, self._team, plan, Tiles(lib, plan.matrices), config.step_tokens, positions)
        self._plan = plan
        self._adapters = Table(model, plan)
        self._stride = -(-positions // config.page_size)
        segments = config.step_tokens
        self._ids = np.zeros(config.step_tokens, np.int32)
        self._pos = np.zeros(config.step_tokens, np.int32)
        self._bounds = np.zeros(segments + 1, np.int32)
        self._lengths = np.zeros(segments, np.int32)
        self._whose = np.zeros(config.step_tokens, np.int32)
        self._rows = np.zeros(config.step_tokens, np.int32)
        self._held = [0] * segments  # pages of each segment that its table has
        self._tables = np.zeros((segments, self._stride), np.int32)
        self._logits = np.zeros((config.max_batch, plan.width), np.float32)
        self._desk = Desk(config.max_batch)
        self._last: list[Work] = []  # what the arrays are filled for
        self._choosing: list[Sequence] = []
        self._scores: NDArray[np.float32] | None = None
        self._step = Step(
            table_stride=self._stride,
            ids=self._ids.ctypes.data,
            pos=self._pos.ctypes.data,
            bounds=self._bounds.ctypes.data,
            lengths=self._lengths.ctypes.data,
            tables=self._tables.ctypes.data,
            out_rows=self._rows.ctypes.data,
            logits_stride=plan.width,
            vocabulary=int(model.config.vocab),
        )
        self._name = (
            f"native {lib.idl_isa().decode()} {describe(plan.matrices)}, {'int8 kv, ' if int8 else ''}"
            f"{self._team.threads} thread{'s' if self._team.threads > 1 else ''}"
        )

    def __str__(self) -> str:
        return self._name

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def weight_bytes(self) -> int:
        """Of every matrix that a step multiplies with."""
        used = {id(op.matrix): op.matrix for op in self._plan.ops if op.matrix and op.numbers["kind"] == LINEAR}
        return sum(int(self._lib.idl_packed_bytes(m.kind, m.outputs, m.inputs)) for m in used.values())

    def add(self, served: Served) -> None:
        """`BadInput` for an adapter that has no kernel."""
        self._settle()
        self._adapters.add(served)

    def drop(self, served: Served) -> None:
        self._settle()
        self._adapters.drop(served)

    def _settle(self) -> None:
        """No step is at work, and the next one is laid out anew: the adapters' tables are about to move."""
        self._program.quiesce()
        self._last = []

    def run(self, work: list[Work]) -> NativeStep:
        if work is self._last:
            return self._repeat(work)
        self._last = []
        ids, pos, bounds, last, scored = gather(work)
        self._ids[: len(ids)] = ids
        self._pos[: len(pos)] = pos
        self._bounds[: len(bounds)] = bounds
        for i, item in enumerate(work):
            pages = item.seq.lease.pages
            self._tables[i, : len(pages)] = pages
            self._held[i] = len(pages)
            self._lengths[i] = item.seq.computed + item.count
        rows = [row for _, row in last]
        step = self._step
        step.n, step.segments = len(ids), len(work)
        self._adapters.point(step, self._whose, [w.seq.served for w in work], [w.count for w in work])
        self._choosing = [seq for seq, _ in last]
        self._desk.lay(self._choosing, step)
        self._begin(0, self._program.length if rows else self._plan.head, rows, self._logits)
        if len(ids) == len(work) == len(rows):  # everybody decodes: maybe once more
            self._last = work
        return NativeStep(self, self._choosing, scored)

    def _repeat(self, work: list[Work]) -> NativeStep:
        """The same sequences as in the last step, each one token further."""
        n = len(work)
        self._ids[:n] = [item.seq.tokens[-1] for item in work]
        self._pos[:n] += 1
        self._lengths[:n] += 1
        held = self._held
        for i, item in enumerate(work):
            pages = item.seq.lease.pages
            if len(pages) != held[i]:
                self._tables[i, : len(pages)] = pages
                held[i] = len(pages)
        self._desk.next(n)
        self._program.start(self._step, self.cache.struct)
        return NativeStep(self, self._choosing, [])

    def choose(self, choosing: list[Sequence]) -> Choice:
        """Wait for the step, and what it chose. Rows with penalties or biases are chosen here."""
        self._program.wait()
        desk, n = self._desk, len(choosing)
        picked = desk.chosen[:n].tolist()
        likely: list[Likely | None] = [None] * n
        if desk.special:
            logits = torch.from_numpy(self._logits)
            tokens = sample(logits[desk.special], [row(choosing[i], logits) for i in desk.special]).tolist()
            for i, token in zip(desk.special, tokens, strict=True):
                picked[i] = token
        for i in desk.wanting:
            top = choosing[i].sampling.logprobs or 0
            pairs = zip(desk.top_ids[i, :top].tolist(), desk.top_logprobs[i, :top].tolist(), strict=True)
            likely[i] = Likely(float(self._logits[i, picked[i]] - desk.norms[i]), tuple(pairs))
        return picked, likely

    def head(self, rows: list[int]) -> Tensor:
        """Logits [m, V] of rows of the last step, m at most `SCORE_ROWS`; valid until the next call."""
        if self._scores is None:
            self._scores = np.zeros((SCORE_ROWS, self._plan.width), np.float32)
        self._last = []
        self._step.choices = None
        self._begin(self._plan.head, self._program.length, rows, self._scores)
        self._program.wait()
        return torch.from_numpy(self._scores[: len(rows)])

    def _begin(self, begin: int, end: int, rows: list[int], logits: NDArray[np.float32]) -> None:
        step = self._step
        step.begin, step.end, step.wanted = begin, end, len(rows)
        self._rows[: len(rows)] = rows
        step.logits = logits.ctypes.data
        self._program.start(step, self.cache.struct)
