"""From a recorded graph (nn.tape) to the operations of a step on the GPU.

The families stay plain torch; their recorded forward becomes four kinds of operation: embed, product, norm, attend. A
norm, gate or activation goes into the product after it, a residual sum into the product before it. What the recording
or the kernels do not know raises `NotRecordable`, and torch computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from idiolect.cuda import attention
from idiolect.cuda.matrix import ACT, GATE, LAYER, RMS, First, Form, Matrix, matrix
from idiolect.cuda.parts import ACTIVATIONS, norm, place
from idiolect.nn import tape
from idiolect.nn.tape import NotRecordable, Sym

Values = list[Any]  # one tensor per value of the graph, None before and after its use
WIDEST = 8192  # columns that one program of a norm holds


@dataclass(slots=True)
class Feed:
    """What a step brings, on the device: N tokens in S segments. Without `blocks` every segment has one token."""

    ids: Tensor  # [N] int64
    pos: Tensor  # [N] int32
    slots: Tensor  # [N] int32: where a token's key and value go; below 0: nowhere
    starts: Tensor  # [S] int32: where a segment's pages begin in `table`
    table: Tensor  # page numbers, int32
    lengths: Tensor  # [S] int32: positions of each segment after this step
    blocks: Tensor | None = None  # [B, 4] int32 (see `attention.prompt`)
    parts: int = 1  # into how many a decode step cuts a context


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values [slots, Hkv, Dh] of each layer, in pages of `page` positions."""

    k: list[Tensor]
    v: list[Tensor]
    page: int


Operation = Callable[[Values, Feed, Cache], None]


class Program:
    """The operations of one step. `run` -> the residual stream [N, D]; `head` -> logits of some of its rows."""

    def __init__(self, model: Any, positions: int, form: Form = "float") -> None:
        """`positions` is the longest sequence that will run; `form` of the matrices. Raises `NotRecordable`."""
        hidden = model.hidden(tape.batch())
        if not isinstance(hidden, Sym):
            raise NotRecordable("a model whose layers do not record themselves")
        rows = Sym("rows", (), hidden.width)
        logits = model.logits(rows)
        if not isinstance(logits, Sym) or logits.op != "linear" or logits.inputs[0] is not rows:
            raise NotRecordable("logits that are not one matrix product of the hidden state")
        self.matrices: list[Matrix] = []
        self._positions, self._form = positions, form
        self._device, self._dtype = model.device, model.dtype
        self._ops: list[Operation] = []
        self._numbers: dict[int, int] = {}
        self._users: dict[int, list[Sym]] = {}
        self._angles: dict[int, tuple[Tensor, Tensor]] = {}
        self._count(hidden)
        last = hidden.inputs[0] if hidden.op == "norm" else hidden
        self._root = self._value(last)
        self._values = len(self._numbers)
        self._last = self._first(hidden) if hidden.op == "norm" else First()
        self._head = self._matrix(logits)

    @property
    def length(self) -> int:
        return len(self._ops)

    @property
    def bytes(self) -> int:
        """Of every matrix that a step multiplies with."""
        return sum(m.bytes for m in self.matrices)

    def run(self, feed: Feed, cache: Cache) -> Tensor:
        values: Values = [None] * self._values
        for op in self._ops:
            op(values, feed, cache)
        root: Tensor = values[self._root]
        return root

    def head(self, rows: Tensor) -> Tensor:
        """Rows [M, D] that `run` gave -> logits [M, V]."""
        return self._head.product(rows, self._last)

    # ---------------------------------------------------------------------------------------------- the graph

    def _count(self, root: Sym) -> None:
        stack, seen = [root], set()
        while stack:
            here = stack.pop()
            if id(here) not in seen:
                seen.add(id(here))
                for source in here.inputs:
                    self._users.setdefault(id(source), []).append(here)
                    stack.append(source)

    def _value(self, node: Sym) -> int:
        """The number of a value; adds what makes it."""
        if id(node) not in self._numbers:
            make = {
                "add": self._add,
                "embed": self._embed,
                "positions": self._positions_of,
                "linear": self._linear,
                "norm": self._norm,
                "gated": self._fed,
                "act": self._fed,
                "attend": self._attend,
            }.get(node.op)
            if make is None:
                raise NotRecordable(f"{node.op} on its own")
            make(node)
        return self._numbers[id(node)]

    def _number(self, node: Sym) -> int:
        return self._numbers.setdefault(id(node), len(self._numbers))

    def _embed(self, node: Sym) -> None:
        table, to = node.attrs["module"].dense(), self._number(node)

        def embed(values: Values, feed: Feed, cache: Cache) -> None:
            values[to] = F.embedding(feed.ids, table)

        self._ops.append(embed)

    def _positions_of(self, node: Sym) -> None:
        table, to, first = node.attrs["module"].dense(), self._number(node), node.attrs["first"]

        def positions(values: Values, feed: Feed, cache: Cache) -> None:
            values[to] = F.embedding(feed.pos + first if first else feed.pos, table)

        self._ops.append(positions)

    def _add(self, node: Sym) -> None:
        base, product = node.inputs
        if product.op != "linear":
            base, product = product, base
        if product.op == "linear" and len(self._users[id(product)]) == 1 and self._last_use(base, node, product):
            onto = self._value(base)
            self._product(product, onto=onto)
            self._numbers[id(node)] = onto
            return
        a, b = (self._value(source) for source in node.inputs)
        to = self._number(node)

        def add(values: Values, feed: Feed, cache: Cache) -> None:
            values[to] = values[a] + values[b]

        self._ops.append(add)

    def _last_use(self, base: Sym, node: Sym, product: Sym) -> bool:
        """Whether the sum may be written over `base`: who else reads it is done before the product begins."""
        (source,) = product.inputs
        if base in (source, *source.inputs):
            return False
        others = [user for user in self._users[id(base)] if user is not node]
        return all(id(user) in self._numbers or self._below(user, product) for user in others)

    def _below(self, source: Sym, node: Sym) -> bool:
        """Whether `node` is computed from `source`, so that `source` is done before it."""
        stack, seen = [node], set()
        while stack:
            here = stack.pop()
            if here is source:
                return True
            if id(here) in seen or id(here) in self._numbers:
                continue
            seen.add(id(here))
            stack += here.inputs
        return False

    def _linear(self, node: Sym) -> None:
        self._product(node)

    def _product(self, node: Sym, onto: int | None = None) -> None:
        (source,) = node.inputs
        first = First()
        if source.op in ("norm", "gated", "act") and len(self._users[id(source)]) == 1:
            first, source = self._first(source), source.inputs[0]
        held, at = self._matrix(node), self._value(source)
        alone = all(user is node or user.op in ("norm", "gated", "act") for user in self._users[id(source)])
        drop = alone and len(self._users[id(source)]) == 1 and at != onto
        to = self._number(node) if onto is None else onto

        def product(values: Values, feed: Feed, cache: Cache) -> None:
            x = values[at]
            if drop:
                values[at] = None
            if onto is None:
                values[to] = held.product(x, first)
            else:
                held.product(x, first, values[to])

        self._ops.append(product)

    def _norm(self, node: Sym) -> None:
        first, at, to = self._first(node), self._value(node.inputs[0]), self._number(node)

        def normed(values: Values, feed: Feed, cache: Cache) -> None:
            assert first.weight is not None
            values[to] = norm(values[at], first.weight, first.bias, first.eps)

        self._ops.append(normed)

    def _fed(self, node: Sym) -> None:
        first, at, to = self._first(node), self._value(node.inputs[0]), self._number(node)

        def fed(values: Values, feed: Feed, cache: Cache) -> None:
            values[to] = first(values[at])

        self._ops.append(fed)

    def _first(self, node: Sym) -> First:
        if node.op == "norm":
            module, kind = node.attrs["module"], node.attrs["kind"]
            if node.width > WIDEST:
                raise NotRecordable(f"a norm of {node.width} columns")
            bias = module.bias if kind == "layer" else None
            return First(LAYER if kind == "layer" else RMS, 0, module.weight, bias, module.eps)
        kind = ACTIVATIONS.get(node.attrs["act"])
        if kind is None:
            raise NotRecordable(f"activation {node.attrs['act']!r}")
        return First(GATE if node.op == "gated" else ACT, kind)

    def _matrix(self, node: Sym) -> Matrix:
        module = node.attrs["module"]
        made = matrix(module.dense(), self._form, module.bias)
        self.matrices.append(made)
        return made

    def _attend(self, node: Sym) -> None:
        a = node.attrs
        if not a["causal"]:
            raise NotRecordable("attention to what comes later")
        if (a["q_norm"] is None) != (a["k_norm"] is None):
            raise NotRecordable("a norm on q without one on k, or the reverse")
        heads, dim, layer = a["heads"], a["dim"], a["layer"]
        (source,) = node.inputs
        if len(self._users[id(source)]) != 1:
            raise NotRecordable("q, k and v that are used twice")
        norms, eps = None, 0.0
        if a["q_norm"] is not None:
            norms, eps = (a["q_norm"].weight, a["k_norm"].weight), a["q_norm"].eps
        angles = None if a["rope"] is None else self._turns(a["rope"], dim)
        scale = a["scale"] if a["scale"] is not None else dim**-0.5
        how = {"heads": heads, "scale": scale, "window": a["window"], "softcap": a["softcap"]}
        at, to = self._value(source), self._number(node)

        def attend(values: Values, feed: Feed, cache: Cache) -> None:
            qkv, k, v = values[at], cache.k[layer], cache.v[layer]
            values[at] = None
            place(qkv, k, v, feed.pos, feed.slots, heads=heads, angles=angles, norms=norms, eps=eps)
            values[to] = mixed(qkv, k, v, feed, cache.page, **how)

        self._ops.append(attend)

    def _turns(self, rope: Any, dim: int) -> tuple[Tensor, Tensor]:
        if rope.growth and self._positions > rope.trained:
            raise NotRecordable("rotary positions that grow past the trained length")
        if rope.dim != dim or dim % 2:
            raise NotRecordable(f"a rotation of {rope.dim} of {dim} channels")
        if id(rope) not in self._angles:
            cos, sin = rope.table(self._positions)
            self._angles[id(rope)] = (cos.to(self._device), sin.to(self._device))
        return self._angles[id(rope)]


def mixed(q: Tensor, k: Tensor, v: Tensor, feed: Feed, page: int, **how: Any) -> Tensor:
    """Attention of a step's rows, by the kernel that fits it. q [N, >= H * Dh] -> [N, H * Dh]."""
    if feed.blocks is None:
        return attention.decode(q, k, v, feed.starts, feed.table, feed.lengths, page=page, parts=feed.parts, **how)
    return attention.prompt(q, k, v, feed.blocks, feed.starts, feed.table, page=page, **how)
