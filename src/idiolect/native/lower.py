"""From a recorded graph (nn.tape) to the operations of csrc/api.h, with buffers that are used again once free.

Norms go into the product that follows them, residual sums into the product before them, and a gate with its
activation into its product; so a decoder's layer is nine operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from idiolect.native import library as lib
from idiolect.native.matrices import Matrix, paired_matrix, plain_matrices
from idiolect.nn.held import Held
from idiolect.nn.stored import plain
from idiolect.nn.tape import NotRecordable, Sym

# An encoder's share of layers before its sensitive end. Of the error of MiniLM's vectors in 8 bits most comes from
# rounding what the last layers read from a norm (q, k and v, the way up), so these stay floats.
LATE = 2 / 3


@dataclass(slots=True)
class Planned:
    """One operation before it has addresses: numbers, and the matrix and vectors it will point to."""

    numbers: dict[str, Any]
    matrix: Matrix | None = None
    module: Any = None  # whose product it is
    vectors: dict[str, tuple[str, Any]] = field(default_factory=dict)  # slot a..d -> (how to lay out, tensor or rope)


@dataclass(slots=True)
class Plan:
    """A step: `head` is the first operation that only the wanted rows need; `hidden` the buffer before it."""

    ops: list[Planned]
    widths: list[int]
    matrices: list[Matrix]
    head: int
    hidden: int
    layers: int
    kv_heads: int
    dim: int
    width: int  # of a row of logits, or of the hidden state


class Lowering:
    """`positions` is the longest sequence that will run; `quantise` is "q8", "q4" or None (float weights as they
    are). Raises `NotRecordable`."""

    def __init__(self, positions: int, quantise: str | None = None) -> None:
        self.positions, self.quantise = positions, quantise
        self.ops: list[Planned] = []
        self.widths: list[int] = []
        self.matrices: list[Matrix] = []
        self._made: dict[tuple[int, str], list[Matrix]] = {}
        self._free: list[int] = []
        self._left: dict[int, int] = {}
        self._users: dict[int, list[Sym]] = {}
        self._buffers: dict[int, int] = {}
        self._attention: set[tuple[int, int]] = set()
        self._layers = 0
        self._table = quantise  # of the embedding
        self._late: float = math.inf  # after so many layers what reads a norm is not rounded

    def causal(self, hidden: Sym, gathered: Sym, logits: Sym) -> Plan:
        """A decoder: `gathered` stands for the wanted rows of `hidden` in the graph of `logits`."""
        for root in (hidden, logits):
            self._count(root, set())
        if logits.op != "linear" or logits.inputs[0] is not gathered:
            raise NotRecordable("logits that are not one matrix product of the hidden state")
        norm = hidden if hidden.op == "norm" else None
        last = norm.inputs[0] if norm is not None else hidden
        buffer = self._value(last)
        head = len(self.ops)
        rows = self._buffer(last.width)
        self._op(lib.GATHER, source=buffer, target=rows, rows=1, n=last.width)
        self._product(logits, rows, norm, target=0, epilogue=lib.LOGITS, rows=1)
        self._op(lib.CHOOSE, rows=1, n=logits.width)
        return self._plan(head, buffer, logits.width)

    def encoder(self, hidden: Sym) -> Plan:
        """An encoder: the hidden state of every row is the result. Its table is only read row by row, so rounding it
        would save no time, and what it adds to the residual stream goes through every layer."""
        self._table = None
        self._count(hidden, set())
        attends = sum(user.op == "attend" for users in self._users.values() for user in users)
        self._late = LATE * attends
        buffer = self._value(hidden)
        for op in self.ops:  # no layer reads another's keys: one layer of cache serves all
            if "layer" in op.numbers:
                op.numbers["layer"] = 0
        self._layers = 1
        return self._plan(len(self.ops), buffer, hidden.width)

    def _plan(self, head: int, hidden: int, width: int) -> Plan:
        if len(self._attention) != 1:
            raise NotRecordable("layers with different heads")
        ((kv_heads, dim),) = self._attention
        return Plan(self.ops, self.widths, self.matrices, head, hidden, self._layers, kv_heads, dim, width)

    # ---------------------------------------------------------------------------------------------- the graph

    def _count(self, node: Sym, seen: set[int]) -> None:
        stack = [node]
        while stack:
            here = stack.pop()
            if id(here) in seen:
                continue
            seen.add(id(here))
            for source in here.inputs:
                self._users.setdefault(id(source), []).append(here)
                self._left[id(source)] = self._left.get(id(source), 0) + 1
                stack.append(source)

    def _use(self, node: Sym) -> None:
        """One consumer of `node` is done with it; its buffer is free after the last one."""
        self._left[id(node)] -= 1
        if self._left[id(node)] == 0 and id(node) in self._buffers:
            self._free.append(self._buffers[id(node)])

    def _buffer(self, width: int) -> int:
        for number in self._free:
            if self.widths[number] == width:
                self._free.remove(number)
                return number
        self.widths.append(width)
        return len(self.widths) - 1

    def _value(self, node: Sym) -> int:
        """The buffer that holds a value; emits what makes it."""
        if id(node) not in self._buffers:
            emit = {
                "add": self._add,
                "embed": self._embed,
                "norm": self._norm,
                "linear": self._linear,
                "gated": self._fed,
                "act": self._fed,
                "attend": self._attend,
            }.get(node.op)
            if emit is None:
                raise NotRecordable(f"{node.op} on its own")
            self._buffers[id(node)] = emit(node)
        return self._buffers[id(node)]

    def _op(
        self,
        kind: int,
        *,
        matrix: Matrix | None = None,
        module: Any = None,
        vectors: dict[str, Any] | None = None,
        **numbers: Any,
    ) -> None:
        self.ops.append(Planned({"kind": kind, **numbers}, matrix, module, vectors or {}))

    # ------------------------------------------------------------------------------------------ the operations

    def _embed(self, node: Sym, extras: Sequence[Sym] = ()) -> int:
        module = node.attrs["module"]
        (matrix, *more) = self._matrices(module.stored, module, "plain", self._table)
        if more:
            raise NotRecordable("an embedding of several types")
        vectors: dict[str, Any] = {}
        first = 0
        for extra in extras:
            slot = "a" if extra.op == "positions" else "b"
            if slot in vectors or extra.op not in ("positions", "constant"):
                raise NotRecordable(f"{extra.op} in a sum of embeddings")
            if slot == "a":
                first = extra.attrs["first"]
                vectors[slot] = ("table", extra.attrs["module"].dense())
            else:
                vectors[slot] = ("vector", extra.attrs["value"])
        target = self._buffer(node.width)
        self._op(
            lib.EMBED,
            target=target,
            wkind=matrix.kind,
            k=node.width,
            matrix=matrix,
            vectors=vectors,
            first=first,
            scale=1.0,
        )
        return target

    def _add(self, node: Sym) -> int:
        leaves = self._leaves(node)
        if leaves is not None:
            (table,) = [leaf for leaf in leaves if leaf.op == "embed"]
            return self._embed(table, [leaf for leaf in leaves if leaf is not table])
        base, product = node.inputs
        if product.op != "linear":
            base, product = product, base
        if product.op != "linear" or len(self._users[id(product)]) != 1:
            raise NotRecordable("a sum without a matrix product of its own")
        target = self._value(base)
        (source,) = product.inputs
        norm = self._fused(source)
        buffer = self._value(norm.inputs[0] if norm is not None else source)
        if self._left[id(base)] != 1 + (norm is not None and norm.inputs[0] is base and self._left[id(norm)] == 1):
            raise NotRecordable("a residual that is needed again after its sum")
        self._product(product, buffer, norm, target=target, epilogue=lib.ADD)
        self._done(source, norm)
        self._left[id(base)] -= 1  # the buffer lives on as the sum
        return target

    def _leaves(self, node: Sym) -> list[Sym] | None:
        """The terms of a sum of embeddings; None when it is something else."""
        if node.op == "add":
            sides = [self._leaves(source) for source in node.inputs]
            return None if None in sides else [leaf for side in sides if side for leaf in side]
        return [node] if node.op in ("embed", "positions", "constant") else None

    def _fused(self, source: Sym) -> Sym | None:
        """The norm to compute inside the products that follow it: only when nobody else wants its value."""
        products = all(user.op == "linear" for user in self._users[id(source)])
        return source if source.op == "norm" and products else None

    def _done(self, source: Sym, norm: Sym | None) -> None:
        self._use(source)
        if norm is not None and self._left[id(norm)] == 0:
            self._use(norm.inputs[0])

    def _norm(self, node: Sym) -> int:
        (source,) = node.inputs
        buffer = self._value(source)
        alone = self._left[id(source)] == 1
        target = buffer if alone else self._buffer(node.width)
        self._op(lib.NORM, source=buffer, target=target, k=node.width, **self._normed(node))
        self._left[id(source)] -= 1
        return target

    @staticmethod
    def _normed(node: Sym) -> dict[str, Any]:
        module = node.attrs["module"]
        vectors = {"a": ("vector", module.weight)}
        if node.attrs["kind"] == "layer":
            vectors["b"] = ("vector", module.bias)
        return {"norm": lib.NORMS[node.attrs["kind"]], "eps": module.eps, "vectors": vectors}

    def _linear(self, node: Sym) -> int:
        return self._make(node, node.width)

    def _fed(self, node: Sym) -> int:
        """An activation, or a gate with its activation, inside the product before it."""
        (product,) = node.inputs
        if product.op != "linear" or len(self._users[id(product)]) != 1:
            raise NotRecordable("an activation that does not follow a matrix product of its own")
        act = lib.ACTIVATIONS.get(node.attrs["act"])
        if act is None:
            raise NotRecordable(f"activation {node.attrs['act']!r}")
        return self._make(product, node.width, act=act, pair=int(node.op == "gated"))

    def _make(self, product: Sym, width: int, **how: Any) -> int:
        (source,) = product.inputs
        norm = self._fused(source)
        buffer = self._value(norm.inputs[0] if norm is not None else source)
        target = self._buffer(width)
        self._product(product, buffer, norm, target=target, **how)
        self._done(source, norm)
        return target

    def _product(self, node: Sym, buffer: int, norm: Sym | None, *, target: int, rows: int = 0, **how: Any) -> None:
        module = node.attrs["module"]
        pair = bool(how.get("pair"))
        normed = self._normed(norm) if norm is not None else {}
        exact = self._layers >= self._late and node.inputs[0].op == "norm"
        quantise = None if exact else self.quantise
        for matrix in self._matrices(module.rows(), module, "pair" if pair else "plain", quantise):
            self._op(lib.PREP, source=buffer, rows=rows, wkind=matrix.kind, k=matrix.inputs, **normed)
            vectors: dict[str, Any] = {}
            if module.bias is not None:
                end = module.outputs if pair else matrix.column + matrix.outputs
                vectors["b"] = ("pair" if pair else "vector", module.bias[matrix.column : end])
            self._op(
                lib.LINEAR,
                target=target,
                rows=rows,
                wkind=matrix.kind,
                n=module.outputs if pair else matrix.outputs,
                k=matrix.inputs,
                column=matrix.column,
                matrix=matrix,
                module=module,
                vectors=vectors,
                **how,
            )

    def _matrices(self, held: Held | None, module: Any, layout: str, quantise: str | None) -> list[Matrix]:
        key = (id(module._tied[0] if getattr(module, "_tied", ()) else module), layout)
        if key not in self._made:
            stored = None if held is None else held.as_stored()
            rows = stored if stored is not None else plain(module.dense())
            self._made[key] = [paired_matrix(rows, quantise)] if layout == "pair" else plain_matrices(rows, quantise)
            self.matrices += self._made[key]
        return self._made[key]

    def _attend(self, node: Sym) -> int:
        a = node.attrs
        if a["softcap"] is not None:
            raise NotRecordable("a softcap on attention scores")
        if a["dim"] % 16 or a["heads"] // a["kv_heads"] > 32:
            raise NotRecordable(
                f"{a['heads']} heads of width {a['dim']} over {a['kv_heads']} (multiples of 16, 32 a group)"
            )
        if (a["q_norm"] is None) != (a["k_norm"] is None):
            raise NotRecordable("a norm on q without one on k, or the reverse")
        self._attention.add((a["kv_heads"], a["dim"]))
        self._layers = max(self._layers, a["layer"] + 1)
        (source,) = node.inputs
        if len(self._users[id(source)]) != 1:
            raise NotRecordable("q, k and v that are used twice")
        buffer = self._value(source)
        heads = {name: a[name] for name in ("layer", "heads", "kv_heads", "dim")}
        vectors: dict[str, Any] = {}
        eps = 0.0
        if a["q_norm"] is not None:
            vectors = {"a": ("vector", a["q_norm"].weight), "b": ("vector", a["k_norm"].weight)}
            eps = a["q_norm"].eps
        rotary = 0
        if a["rope"] is not None:
            if a["rope"].growth and self.positions > a["rope"].trained:
                raise NotRecordable("rotary positions that grow past the trained length")
            rotary = a["rope"].dim
            vectors |= {"c": ("cos", a["rope"]), "d": ("sin", a["rope"])}
        self._op(lib.ROPE, source=buffer, rotary=rotary, eps=eps, vectors=vectors, **heads)
        target = self._buffer(node.width)
        scale = a["scale"] if a["scale"] is not None else a["dim"] ** -0.5
        self._op(
            lib.ATTEND,
            source=buffer,
            target=target,
            causal=int(a["causal"]),
            window=a["window"] or 0,
            scale=scale,
            **heads,
        )
        self._use(source)
        return target
