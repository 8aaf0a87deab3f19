"""A matrix that is held in another form than a parameter: rows as a file has them, or quantised.

`Linear` and `Embedding` take either through the one protocol below and compute with it as it is. Nothing of it is
trained: a gradient goes through to x, and the floats that the backward pass needs are made again, not kept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from idiolect.nn.frozen import frozen

if TYPE_CHECKING:
    from idiolect.nn.stored import Stored


class Held(Protocol):
    """A frozen matrix W [Out, In]."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def dequantise(self, dtype: torch.dtype | None = None) -> Tensor:
        """W as floats [Out, In]; None takes the dtype that the holder computes in."""
        ...

    def matmul(self, x: Tensor) -> Tensor:
        """x W^T in x's dtype. [..., In] -> [..., Out]."""
        ...

    def rows(self, ids: Tensor) -> Tensor:
        """Rows [..., In] of an int64 index [...]."""
        ...

    def as_stored(self) -> Stored | None:
        """The same matrix in ggml's rows, for kernels that read those; None where only floats will do."""
        ...


def product(x: Tensor, held: Held) -> Tensor:
    """x W^T, W made from its held form in each pass. [..., In] -> [..., Out]; the gradient to x alone."""
    return frozen(x, partial(held.dequantise, x.dtype))  # a closure over x would keep it for the backward pass
