"""A recorded step with addresses: one call runs it."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.native.library import Cache, Op, Step
from idiolect.native.lower import Lowering, Plan
from idiolect.native.matrices import gate_order
from idiolect.native.tiles import Tiles
from idiolect.nn import tape

PADDING = 32  # floats past a vector's end that kernels may read


def record(model: Any, positions: int, quantise: str | None = None) -> Plan:
    """The step of a model: of a decoder when it has `logits`, else of an encoder. `NotRecordable` says why not."""
    lowering = Lowering(positions, quantise)
    hidden = model.hidden(tape.batch())
    if not isinstance(hidden, tape.Sym):
        raise tape.NotRecordable("a model whose layers do not record themselves")
    if not hasattr(model, "logits"):
        return lowering.encoder(hidden)
    gathered = tape.Sym("rows", (), hidden.width)
    return lowering.causal(hidden, gathered, model.logits(gathered))


class Team:
    """Threads that wait for steps. They end with the object."""

    def __init__(self, lib: Any, threads: int) -> None:
        self.threads = threads
        self.handle = lib.idl_team_new(threads)
        weakref.finalize(self, lib.idl_team_free, self.handle).atexit = False


class Program:
    """`plan` over `tiles`, for at most `rows` tokens a step and contexts of `positions`."""

    def __init__(self, lib: Any, team: Team, plan: Plan, tiles: Tiles, rows: int, positions: int) -> None:
        self.plan, self._lib, self._team, self._tiles = plan, lib, team, tiles
        self._kept: list[NDArray[Any]] = []
        self._tables: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._positions = positions
        where = {id(m): i for i, m in enumerate(plan.matrices)}
        self._ops = (Op * len(plan.ops))()
        for op, planned in zip(self._ops, plan.ops, strict=True):
            for name, value in planned.numbers.items():
                setattr(op, name, value)
            if planned.matrix is not None:
                op.w = tiles.address(where[id(planned.matrix)])
            for slot, (layout, value) in planned.vectors.items():
                setattr(op, slot, self._vector(layout, value))
        widths = np.array(plan.widths, np.int32)
        self._handle = lib.idl_program_new(
            team.handle, self._ops, len(plan.ops), widths.ctypes.data, len(widths), rows, positions
        )
        if not self._handle:
            raise tape.NotRecordable(f"a step of {len(plan.ops)} operations")
        weakref.finalize(self, _free, lib, self._handle, team).atexit = False

    @property
    def length(self) -> int:
        return len(self.plan.ops)

    def hidden(self, rows: int) -> NDArray[np.float32]:
        """A view of the hidden state [rows, D] that the last run left."""
        width = self.plan.widths[self.plan.hidden]
        address = self._lib.idl_program_buffer(self._handle, self.plan.hidden)
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (rows, width))

    def quiesce(self) -> None:
        """After it no thread reads what an earlier step pointed to, that of one that was only begun included."""
        self.wait()
        self._lib.idl_program_quiesce(self._handle)

    def run(self, step: Step, cache: Cache) -> None:
        self.start(step, cache)
        self.wait()

    def start(self, step: Step, cache: Cache) -> None:
        """The other threads begin; what `step` points to must stay as it is until `wait`."""
        self.wait()
        done = self._lib.idl_program_start(self._handle, ctypes.byref(step), ctypes.byref(cache))
        if done != 0:
            raise ValueError(f"the native step refused its input ({done})")

    def wait(self) -> None:
        """Help with the step that was begun, until it is done; nothing when there is none."""
        self._lib.idl_program_wait(self._handle)

    def _vector(self, layout: str, value: Any) -> int:
        if layout in ("cos", "sin"):
            if id(value) not in self._tables:
                cos, sin = value.table(self._positions)
                self._tables[id(value)] = (_padded(cos), _padded(sin))
            array = self._tables[id(value)][layout == "sin"]
        elif layout == "pair":
            hidden = value.numel() // 2
            spread = torch.zeros(-(-hidden // 16) * 32)
            spread[torch.from_numpy(gate_order(hidden))] = value.detach().float()
            array = _padded(spread)
        else:
            array = _padded(value)
        self._kept.append(array)
        return int(array.ctypes.data)


def _free(lib: Any, handle: int, team: Team) -> None:
    """`team` is held until here: its threads must outlive the program."""
    lib.idl_program_free(handle)


def _padded(value: Tensor) -> NDArray[np.float32]:
    flat = value.detach().float().reshape(-1).numpy()
    return np.concatenate((flat, np.zeros(PADDING, np.float32)))
