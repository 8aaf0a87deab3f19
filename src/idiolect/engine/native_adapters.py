"""Adapters for the native kernels: each product's low-rank update and factors, laid out as its tiles are.

LoRA (with its variants) and IA3 become y = out * (W (in * x) + bias + B A x) inside the product itself; soft prompts
become rows behind the embedding's table, and prefixes are in the cache before the first step. A step in which nobody
has an adapter is the same as before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.engine.adapters import Served
from idiolect.models.base import CausalModel
from idiolect.native import library as lib
from idiolect.native.lower import Plan
from idiolect.native.matrices import gate_order
from idiolect.nn import Linear
from idiolect.tune.ia3 import IA3
from idiolect.tune.lora import Lora
from idiolect.tune.prompt import SoftPrompt

KNOWN = ("LORA", "IA3", "PREFIX_TUNING", "PROMPT_TUNING")
PADDING = 32  # floats past an array's end that kernels may read


def unknown(found: Mapping[str, Any]) -> str:
    """Why the kernels cannot serve the adapter of an adapter_config.json; empty when they can."""
    name = str(found.get("peft_type"))
    return "" if name in KNOWN else f"adapters of type {name} have no kernel"


@dataclass(slots=True)
class Update:
    """A delta of a whole layer: y = out * (W (into * x) + bias + b a x); a [R, In], b [Out, R]."""

    a: Tensor | None = None
    b: Tensor | None = None
    out: Tensor | None = None
    into: Tensor | None = None


def update(delta: Any, layer: Linear) -> Update:
    """`BadInput` for a kind of delta that has no kernel."""
    if isinstance(delta, IA3):
        return Update(into=delta.factors[0]) if delta.changes_input else Update(out=delta.whole())
    if not isinstance(delta, Lora) or (delta.lengths is not None and layer.bias is not None):
        raise BadInput("the native runner has no kernel for this kind of adapter", hint="serve with runner: torch")
    b = delta.a.new_zeros(layer.outputs, delta.a.shape[0])
    out = None if delta.lengths is None else delta.a.new_ones(layer.outputs)
    growth = delta.growth(layer) if delta.lengths is not None else [None] * len(delta.parts)
    for (begin, end), (i, j), part, scale, grown in zip(delta.bounds, delta.spans, delta.b, delta.scales, growth):
        b[begin:end, i:j] = part * scale
        if out is not None and grown is not None:
            out[begin:end] = grown
    return Update(delta.a, b, out)


@dataclass(slots=True)
class Compiled:
    """One adapter's deltas for every operation of a program, and the arrays that they point to."""

    deltas: Any  # (Delta * operations)
    ranks: int = 0
    soft: int = 0
    kept: list[NDArray[np.float32]] = field(default_factory=list)

    def keep(self, value: Tensor) -> int:
        flat = value.detach().float().contiguous().numpy().reshape(-1)
        self.kept.append(np.concatenate((flat, np.zeros(PADDING, np.float32))))
        return int(self.kept[-1].ctypes.data)


@torch.no_grad()
def compiled(served: Served, model: CausalModel, plan: Plan) -> Compiled:
    """`BadInput` for what has no kernel."""
    made = Compiled((lib.Delta * len(plan.ops))())
    left = dict(served.deltas)
    soft = left.pop("embed", None)
    if isinstance(soft, SoftPrompt):
        made.soft = made.keep(soft.table)
    layers = {id(model.get_submodule(path)): path for path in left}
    used = set()
    for i, op in enumerate(plan.ops[: plan.head]):
        path = layers.get(id(op.module))
        if path is None:
            continue
        used.add(path)
        found = update(left[path], op.module)
        target = made.deltas[i]
        if found.a is not None and found.b is not None:
            target.rank = found.a.shape[0]
            made.ranks = max(made.ranks, target.rank)
            target.a = made.keep(found.a)
            target.b = made.keep(_tiled(found.b, op.numbers))
        if found.out is not None:
            target.out = made.keep(_tiled(found.out[:, None], op.numbers))
        if found.into is not None:
            target.into = made.keep(found.into)
    if used != set(left):
        raise BadInput(
            f"the native runner has no kernel for an adapter on {min(set(left) - used)}",
            hint="serve with runner: torch",
        )
    return made


def _tiled(rows: Tensor, numbers: Mapping[str, Any]) -> Tensor:
    """Rows [Out, R] of a layer as one product's tiles see them: [tiles, R, 16]."""
    if numbers.get("pair"):
        hidden = numbers["n"] // 2
        spread = rows.new_zeros(-(-hidden // 16) * 32, rows.shape[1])
        spread[torch.from_numpy(gate_order(hidden))] = rows
    else:
        column, n = numbers["column"], numbers["n"]
        spread = rows.new_zeros(-(-n // 16) * 16, rows.shape[1])
        spread[:n] = rows[column : column + n]
    return spread.view(-1, 16, rows.shape[1]).transpose(1, 2)


class Table:
    """The adapters of a native runner, as its steps point to them."""

    def __init__(self, model: CausalModel, plan: Plan) -> None:
        self._model, self._plan = model, plan
        self._made: dict[str, Compiled] = {}
        self._index: dict[str, int] = {}
        self._deltas: Any = None
        self._soft: Any = None

    def add(self, served: Served) -> None:
        self._made[served.key] = compiled(served, self._model, self._plan)
        self._lay_out()

    def drop(self, served: Served) -> None:
        """Only when no thread looks any more (`Program.quiesce`)."""
        if self._made.pop(served.key, None) is not None:
            self._lay_out()

    def _lay_out(self) -> None:
        self._index = {key: i for i, key in enumerate(self._made)}
        size = len(self._plan.ops)
        self._deltas = (lib.Delta * (size * max(1, len(self._made))))()
        self._soft = (ctypes.c_void_p * max(1, len(self._made)))()
        for i, made in enumerate(self._made.values()):
            ctypes.memmove(
                ctypes.byref(self._deltas, i * size * ctypes.sizeof(lib.Delta)), made.deltas, ctypes.sizeof(made.deltas)
            )
            self._soft[i] = made.soft

    def point(self, step: lib.Step, rows: NDArray[np.int32], served: list[Served | None], counts: list[int]) -> None:
        """Fill in a step's adapters; `rows` [step_tokens] gets each token's."""
        if not any(served):
            step.adapters = None
            return
        at = 0
        for one, count in zip(served, counts, strict=True):
            rows[at : at + count] = -1 if one is None else self._index[one.key]
            at += count
        step.adapters = rows.ctypes.data
        step.deltas = ctypes.addressof(self._deltas)
        step.soft = ctypes.addressof(self._soft)
        step.ranks = max(1, *(made.ranks for made in self._made.values()))
