"""Stored blocks -> floats, with the `gguf` package's vectorised numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import BadInput


def dequantize(data: np.ndarray, kind: Any, shape: tuple[int, ...], path: str, name: str) -> Tensor:
    """A tensor of `shape` from its stored bytes; `kind` is a `gguf.GGMLQuantizationType`."""
    from gguf import quants

    raw = tensor_of(data)
    if kind.name in ("F32", "F16", "F64"):
        return raw.reshape(shape)
    if kind.name == "BF16":
        return raw.view(torch.uint8).reshape(-1).view(torch.bfloat16).reshape(shape)
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
