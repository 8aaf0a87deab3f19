"""Quantised matrices: what each format is to a layer, and one call to make one.

A format is a file here with a subclass of `QuantTensor`. It is weight-only: what is stored is small, what is
multiplied is floats made from it for each product (`nn.held`). The cost of making them is per product, not per
token: 1 to 2 ns a weight on one core, against 2 flops a weight and token.
"""

from __future__ import annotations

import inspect
import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.registry import Registry
from idiolect.nn.frozen import frozen
from idiolect.nn.stored import Stored


class _Buffers(threading.local):
    """Memory of a thread that is used again and again. Fresh floats for every product leave holes in the heap between
    the activations that stay: 0.4 GB more at the peak of a QLoRA step of 1,024 tokens on a model of 135 M."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def get(self, use: str, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """`count` values, unset."""
        key = (use, dtype, device)
        found = self.held.get(key)
        if found is None or found.numel() < count:
            with torch.inference_mode(False):
                found = self.held[key] = torch.empty(count, dtype=dtype, device=device)
        return found[:count]


_buffers = _Buffers()
scratch = _buffers.get


def by_row(weight: Tensor, scale: Tensor) -> Tensor:
    """Rows in units of their `scale` [Out], as float32; a row of zeros stays one."""
    return weight.float() / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]


class QuantTensor(nn.Module):
    """A frozen matrix W [Out, In] in few bits, a `nn.Held`. What is stored are buffers, so that moving, copying and
    state dicts are torch's own. Casting the model changes the dtype that it computes in, never the stored numbers."""

    fmt: ClassVar[str]

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype

    @classmethod
    def _of(cls, weight: Tensor, **buffers: Tensor) -> Self:
        """An instance for a matrix, with what is stored of it."""
        made = cls((weight.shape[0], weight.shape[1]), weight.dtype)
        for name, tensor in buffers.items():
            made.register_buffer(name, tensor)
        return made

    @classmethod
    @abstractmethod
    def pack(cls, weight: Tensor) -> Self:
        """Quantise a float matrix [Out, In]; formats may have options."""

    @abstractmethod
    def floats(self) -> Tensor:
        """W as float32 [Out, In]."""

    def dequantise(self, dtype: torch.dtype | None = None) -> Tensor:
        """W as floats [Out, In]; None: of the dtype that W had, or that the model was cast to since."""
        return self.floats().to(dtype or self.dtype)

    def transient(self, dtype: torch.dtype) -> Tensor:
        """W as floats for one product: the next call may write over it (`scratch`)."""
        return self.dequantise(dtype)

    def matmul(self, x: Tensor) -> Tensor:
        """x W^T in x's dtype, with a gradient to x only. [..., In] -> [..., Out]."""
        return frozen(x, partial(self.transient, x.dtype))  # a closure over x would keep it for the backward pass

    def forward(self, x: Tensor) -> Tensor:
        return self.matmul(x)

    def rows(self, ids: Tensor) -> Tensor:
        """Rows [..., In] of an int64 index [...]; formats whose rows can be read alone do that."""
        return self.dequantise()[ids]

    def as_stored(self) -> Stored | None:
        """The matrix in ggml's rows; None for a format that ggml does not have."""
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored."""
        return sum(b.nbytes for b in self.buffers())

    @property
    def bits(self) -> float:
        """Bits per weight."""
        return 8 * self.nbytes / (self.shape[0] * self.shape[1])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moving moves the buffers; casting is only noted."""
        probe = fn(torch.empty(0, dtype=self.dtype, device=next(self.buffers()).device))
        self.dtype = probe.dtype
        return super()._apply(lambda t: t.to(probe.device), recurse)

    def extra_repr(self) -> str:
        return f"{self.fmt}, {self.shape[0]} x {self.shape[1]}, {self.bits:.2f} bits per weight"


FORMATS: Registry[type[QuantTensor]] = Registry("quantised format")


def quantise(weight: Tensor, fmt: str, **options: Any) -> QuantTensor:
    """A float matrix [Out, In] in the format of that name ("nf4", "int8", "fp8", "ternary", "q8_0", "q4_0", "q4_1").

    `options` are the format's own (see its `pack`). Raises `NotFound` for an unknown format and `BadInput` for a
    matrix that has no finite numbers to keep or does not fit the format.
    """
    kind = FORMATS.get(fmt)
    known = list(inspect.signature(kind.pack).parameters)[1:]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) if known else f"{fmt} has none"
            raise BadInput(f"{fmt} has no option {name!r}", hint=hint, param=name)
    if weight.ndim != 2 or not weight.numel():
        raise BadInput(f"a tensor of shape {list(weight.shape)} is no matrix", hint="quantise matrices [Out, In]")
    if not bool(weight.isfinite().all()):
        raise BadInput("the matrix holds NaN or infinity", hint="the weights are damaged; quantise a good checkpoint")
    return kind.pack(weight.detach(), **options)


from idiolect.weights import blocks, fp8, int8, nf4, ternary  # noqa: E402, F401  (they register themselves)
