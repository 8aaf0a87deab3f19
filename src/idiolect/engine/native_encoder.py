"""An encoder's forward pass as one native call: the same kernels as the decoder's, looking both ways."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from idiolect.engine.native_kv import LANES, NativeKV
from idiolect.engine.turns import Turns
from idiolect.models.base import Encoder
from idiolect.models.pooling import pool
from idiolect.native.library import Step, library
from idiolect.native.matrices import describe
from idiolect.native.program import Program, Team, record
from idiolect.native.tiles import Tiles
from idiolect.nn.batch import Batch


class NativeEncoder:
    """Vectors [S, D] of packed segments, at most `tokens` tokens or one segment at a time. Callers take turns. Raises
    `Unavailable` or `NotRecordable` where it cannot be had. `quantise` is "q8", "q4" or None."""

    def __init__(
        self, encoder: Encoder, *, tokens: int = 2048, threads: int | None = None, quantise: str | None = None
    ) -> None:
        self.encoder, self._turns = encoder, Turns()
        lib = library()
        plan = record(encoder, encoder.context, quantise)
        self._rows = max(tokens, encoder.context)
        pages = -(-self._rows // LANES) + self._rows  # every segment begins a page
        self._cache = NativeKV(plan.layers, plan.kv_heads, plan.dim, pages, LANES)
        team = Team(lib, threads or torch.get_num_threads())
        self._program = Program(lib, team, plan, Tiles(lib, plan.matrices), self._rows, encoder.context)
        self.name = f"native {lib.idl_isa().decode()} {describe(plan.matrices)}"

    def __call__(self, batch: Batch, urgent: bool = False) -> Tensor:
        with self._turns.take(urgent):
            return pool(self.hidden(batch), batch, self.encoder.pooling, self.encoder.normalize)

    def hidden(self, batch: Batch) -> Tensor:
        """[N, D]: a view that lasts until the next call."""
        bounds = np.array(batch.bounds, np.int32)
        lengths = np.diff(bounds)
        pages = -(-lengths // LANES)
        tables = np.zeros((len(lengths), int(pages.max())), np.int32)
        firsts = np.cumsum(pages) - pages
        tables += firsts[:, None] + np.arange(tables.shape[1])  # past a segment's pages: never read
        tables = np.ascontiguousarray(tables, np.int32)
        ids, pos = batch.ids.numpy().astype(np.int32), batch.pos.numpy().astype(np.int32)
        step = Step(
            end=self._program.length,
            n=len(ids),
            segments=len(lengths),
            table_stride=tables.shape[1],
            ids=ids.ctypes.data,
            pos=pos.ctypes.data,
            bounds=bounds.ctypes.data,
            lengths=lengths.ctypes.data,
            tables=tables.ctypes.data,
        )
        self._program.run(step, self._cache.struct)
        return torch.from_numpy(self._program.hidden(len(ids)))
