"""Recording a forward pass: the model runs once on symbols, and what it does is written down.

The families stay plain torch. `nn`'s own layers notice a `Sym` and note themselves instead of computing; a runner then
turns the graph into its own operations. So there is one definition of a model, and whatever cannot be recorded says
why (`NotRecordable`) and runs in torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.core.errors import IdiolectError
from idiolect.nn.batch import Batch
from idiolect.nn.delta import Delta

ROWS = 1_000_003  # stands for the number of tokens; a prime that no model has as a width


class NotRecordable(IdiolectError):
    """This model does something that the recording does not know."""

    code = "not_recordable"


def bare(module: Any) -> None:
    """Refuse a layer with a delta of its own: only adapters that requests choose can be served beside a recording."""
    if isinstance(getattr(module, "delta", None), Delta):
        raise NotRecordable("a mounted adapter")


class Sym:
    """A value of the recorded step: what made it (`op`), from which values, with which modules or numbers. Its shape
    is [ROWS, width]."""

    __slots__ = ("attrs", "inputs", "op", "width")
    dtype = torch.float32
    requires_grad = False

    def __init__(self, op: str, inputs: Sequence[Sym], width: int, **attrs: Any) -> None:
        self.op, self.inputs, self.width, self.attrs = op, tuple(inputs), width, attrs

    @property
    def shape(self) -> tuple[int, int]:
        return (ROWS, self.width)

    # What the layers of `nn` call.

    def embed(self, module: nn.Module, width: int) -> Any:
        if self.op not in ("ids", "pos"):
            raise NotRecordable("an embedding of something else than ids or positions")
        bare(module)
        return Sym("embed" if self.op == "ids" else "positions", (self,), width, module=module, **self.attrs)

    def linear(self, module: Any) -> Any:
        if module.inputs != self.width:
            raise NotRecordable(f"a matrix of {module.inputs} inputs on a value of width {self.width}")
        bare(module)
        return Sym("linear", (self,), module.outputs, module=module)

    def norm(self, module: nn.Module, kind: str) -> Any:
        bare(module)
        return Sym("norm", (self,), self.width, module=module, kind=kind)

    def gated(self, act: str) -> Any:
        """act(first half) * second half."""
        return Sym("gated", (self,), self.width // 2, act=act)

    def activated(self, act: str) -> Any:
        return Sym("act", (self,), self.width, act=act)

    # What the families write between the layers.

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Sym) and other.width == self.width:
            return Sym("add", (self, other), self.width)
        if isinstance(other, Tensor) and other.shape == (self.width,):
            return Sym("add", (self, Sym("constant", (), self.width, value=other)), self.width)
        if isinstance(other, int) and self.op == "pos":
            return Sym("pos", (), self.width, first=self.attrs["first"] + other)
        raise NotRecordable(f"adding {type(other).__name__} to {self.op}")

    def view(self, *shape: int) -> Any:
        """[ROWS, width] as [ROWS, heads, dim] or [ROWS, stacks, heads, dim]."""
        sizes = list(shape)
        if sizes.count(-1) == 1 and sizes[0] == ROWS:
            known = 1
            for size in sizes[1:]:
                known *= size if size != -1 else 1
            sizes[sizes.index(-1)] = self.width // known
        if len(sizes) == 3 and sizes[0] == ROWS and sizes[1] * sizes[2] == self.width:
            return Heads((HeadRange(self, 0, sizes[1]),), sizes[2])
        if len(sizes) == 4 and sizes[0] == ROWS and sizes[1] * sizes[2] * sizes[3] == self.width:
            return Stacked(self, sizes[1], sizes[2], sizes[3])
        raise NotRecordable(f"a view of {self.op} as {shape}")

    def reshape(self, *shape: Any) -> Any:
        if shape in ((ROWS, -1), (ROWS, self.width)) or shape == (self.shape,):
            return self
        raise NotRecordable(f"a reshape of {self.op} to {shape}")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func in (Tensor.add, Tensor.__add__, Tensor.__radd__) and len(args) == 2 and not kwargs:
            mine, other = (args[0], args[1]) if isinstance(args[0], Sym) else (args[1], args[0])
            return mine + other
        raise NotRecordable(f"torch's {getattr(func, '__name__', func)} on a recorded value")

    def __getattr__(self, name: str) -> Any:
        raise NotRecordable(f"{name} of a recorded value")


@dataclass(frozen=True, slots=True)
class HeadRange:
    """`count` heads of a linear layer's output from head `first` on, perhaps normed and rotated."""

    source: Sym
    first: int
    count: int
    norm: nn.Module | None = None
    rope: Any = None


@dataclass(frozen=True, slots=True)
class Heads:
    """Consecutive heads of width `dim`: [ROWS, heads, dim]."""

    ranges: tuple[HeadRange, ...]
    dim: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (ROWS, sum(r.count for r in self.ranges), self.dim)

    def __getitem__(self, key: Any) -> Any:
        if not (isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None) and isinstance(key[1], slice)):
            raise NotRecordable(f"heads indexed by {key}")
        begin, end, step = key[1].indices(self.shape[1])
        if step != 1:
            raise NotRecordable("heads with a stride")
        found, at = [], 0
        for r in self.ranges:
            low, high = max(begin, at), min(end, at + r.count)
            if low < high:
                found.append(replace(r, first=r.first + low - at, count=high - low))
            at += r.count
        return Heads(tuple(found), self.dim)

    def split(self, sizes: Sequence[int], dim: int) -> Any:
        if dim != 1 or sum(sizes) != self.shape[1]:
            raise NotRecordable(f"heads split into {sizes} along {dim}")
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return tuple(self[:, end - size : end] for size, end in zip(sizes, ends))

    def norm(self, module: nn.Module, kind: str) -> Any:
        if kind != "rms" or any(r.norm is not None or r.rope is not None for r in self.ranges):
            raise NotRecordable(f"a {kind} norm of heads here")
        return Heads(tuple(replace(r, norm=module) for r in self.ranges), self.dim)

    def rotate(self, angles: SymAngles) -> Any:
        if any(r.rope is not None for r in self.ranges):
            raise NotRecordable("heads that are rotated twice")
        return Heads(tuple(replace(r, rope=angles.rope) for r in self.ranges), self.dim)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is torch.cat and len(args) == 2 and args[1] == 1 and all(isinstance(h, Heads) for h in args[0]):
            return Heads(tuple(r for heads in args[0] for r in heads.ranges), args[0][0].dim)
        raise NotRecordable(f"torch's {getattr(func, '__name__', func)} on recorded heads")


@dataclass(frozen=True, slots=True)
class Stacked:
    """[ROWS, stacks, heads, dim]."""

    source: Sym
    stacks: int
    heads: int
    dim: int

    def unbind(self, dim: int) -> Any:
        if dim != 1:
            raise NotRecordable(f"stacked heads unbound along {dim}")
        return tuple(Heads((HeadRange(self.source, i * self.heads, self.heads),), self.dim) for i in range(self.stacks))


@dataclass(frozen=True, slots=True)
class SymAngles:
    """The rotations of one `Rope`, for whatever positions a step has."""

    rope: Any


def attend(q: Heads, k: Heads, v: Heads, layer: int, **how: Any) -> Any:
    """Attention whose q, k and v are one linear layer's output, in this order."""
    ranges = (*q.ranges, *k.ranges, *v.ranges)
    source, at = ranges[0].source, 0
    for r in ranges:
        if r.source is not source or r.first != at:
            raise NotRecordable("q, k and v that do not lie in a row in one matrix product")
        at += r.count
    if at * q.dim != source.width:
        raise NotRecordable("a matrix product that holds more than q, k and v")

    def same(heads: Heads) -> tuple[nn.Module | None, Any]:
        kinds = {(id(r.norm), id(r.rope)) for r in heads.ranges}
        if len(kinds) != 1:
            raise NotRecordable("heads that are treated differently within q or k")
        return heads.ranges[0].norm, heads.ranges[0].rope

    (q_norm, q_rope), (k_norm, k_rope), (v_norm, v_rope) = same(q), same(k), same(v)
    if q_rope is not k_rope or v_norm is not None or v_rope is not None:
        raise NotRecordable("another rotation of k than of q, or a rotated or normed v")
    heads, kv_heads = q.shape[1], k.shape[1]
    if v.shape[1] != kv_heads:
        raise NotRecordable("another number of heads in v than in k")
    return Sym(
        "attend",
        (source,),
        heads * q.dim,
        layer=layer,
        heads=heads,
        kv_heads=kv_heads,
        dim=q.dim,
        rope=q_rope,
        q_norm=q_norm,
        k_norm=k_norm,
        **how,
    )


def batch() -> Batch:
    """A batch of ROWS tokens that nobody knows."""
    ids, pos = Sym("ids", (), 1), Sym("pos", (), 1, first=0)
    return Batch(ids=ids, pos=pos, cu=ids, bounds=(0, ROWS))  # type: ignore[arg-type]
