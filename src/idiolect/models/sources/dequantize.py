"""Stored blocks -> floats, with the `gguf` package's vectorised numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import BadInput

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def dequantize(data: np.ndarray, kind: Any, shape: tuple[int, ...], path: str, name: str) -> Tensor:
    """A tensor of `shape` from its stored bytes; `kind` is a `gguf.GGMLQuantizationType`."""
    from gguf import quants

    if kind.name in PLAIN:
        return tensor_of(data).reshape(-1).view(PLAIN[kind.name]).reshape(shape)
    try:
        values = quants.dequantize(data, kind)
    except NotImplementedError:
        raise BadInput(
            f"tensor {name} of {path} has type {kind.name}, which cannot be dequantised",
            hint="convert the file to a type such as Q4_K, Q8_0 or F16",
        ) from None
    return tensor_of(values).reshape(shape)


def tensor_of(array: np.ndarray) -> Tensor:
    """A tensor over an array that may be read-only (a memory map); nobody writes to it."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))
