"""What adapters need to know of, and do to, a model's own weights: number types, merging, and which base it is."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.models.base import Model
from idiolect.nn import Embedding, Linear

SAMPLE = 1024  # values of each matrix that enter the hash


def wide(model: Model) -> dict[str, Any]:
    """Number type and device of what is learned beside a model: at least float32, so that small steps count."""
    return {"dtype": torch.promote_types(model.dtype, torch.float32), "device": model.device}


def writable(layer: Linear) -> Tensor:
    """The layer's weight as a plain parameter that may be changed; stored or quantised rows become floats."""
    if layer._tied:
        raise BadInput("the output's matrix is the embedding's too", hint="leave the output out of the adapter")
    layer.unpack()
    if layer.weight is None:
        dense = layer.dense().detach().clone()
        layer.stored = None
        layer.weight = nn.Parameter(dense, requires_grad=False)
    return layer.weight.data


@torch.no_grad()
def grow(layer: Linear, begin: int, end: int, update: Tensor, growth: Tensor | None = None) -> None:
    """W[begin:end] = growth * (W[begin:end] + update), in float32 (or wider), rounded once."""
    weight = writable(layer)
    rows = weight[begin:end].to(update.dtype) + update
    weight[begin:end] = (rows if growth is None else rows * growth[:, None]).to(weight.dtype)


def fingerprint(model: Model) -> dict[str, str]:
    """Which base this is: a hash of its norms and biases, which every file format keeps exactly, and one of samples of
    its matrices (empty when these were quantised, since then they depend on how). Values count as bfloat16, so that
    loading in another number type does not matter."""
    small, large = hashlib.sha256(), hashlib.sha256()
    source = getattr(model, "source", None)
    exact = source is None or all(t in ("F32", "F16", "BF16", "F64") for t in source.tensor_types)
    for rule in sorted(model.rules(), key=lambda r: r.name):
        path, _, kind = rule.name.rpartition(".")
        module = model.get_submodule(path)
        if isinstance(module, Linear | Embedding) and kind == "weight":
            size = (module.outputs, module.inputs) if isinstance(module, Linear) else (module.num_embeddings,)
            small.update(f"{rule.name} {size}".encode())
            exact = exact and module.stored is None
            if exact:
                flat = module.dense().detach().reshape(-1)
                large.update(_bytes(flat[:: max(1, flat.numel() // SAMPLE)]))
        else:
            small.update(_bytes(getattr(module, kind)))
    return {"norms": small.hexdigest(), "matrices": large.hexdigest() if exact else ""}


def _bytes(values: Tensor) -> bytes:
    return values.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
