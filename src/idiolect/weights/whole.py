"""Quantise a whole model in place, one matrix at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from idiolect.core.errors import BadInput
from idiolect.core.progress import progress
from idiolect.models.base import Model
from idiolect.nn import Embedding, Linear
from idiolect.nn.stored import Stored
from idiolect.weights.quant import QuantTensor, quantise

SKIP = ("lm_head", "embed")


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was done. `before` and `after` are bytes of all weights; `kept` says why a matrix was left as it was."""

    fmt: str
    matrices: int
    weights: int  # how many numbers they hold
    before: int
    after: int
    kept: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.matrices} matrices, {self.weights / 1e6:.1f} M weights in {self.fmt}: "
            f"{self.before / 1e6:.1f} -> {self.after / 1e6:.1f} MB"
        )


def quantise_model(model: Model, fmt: str, skip: Sequence[str] = SKIP, **options: Any) -> Quantised:
    """Give the linear layers (and the token table, unless skipped) quantised weights; nothing else changes.

    `skip` names what stays as it is, by a word of our name or of Hugging Face's: "lm_head", "embed", "o_proj",
    "layers.0". A model that was loaded as stored gets plain weights for what is skipped. The parameters left keep
    their `requires_grad`; the quantised matrices have none, gradients pass through them.
    """
    names = {rule.name: [part.hf for part in rule.parts] for rule in model.rules()}
    wanted: list[tuple[str, Linear | Embedding]] = []
    kept: dict[str, str] = {}
    for name, module in model.named_modules():
        if (isinstance(module, Linear) and not module._tied) or (name == "embed" and isinstance(module, Embedding)):
            hit = next(
                (word for word in skip if _named(word, [f"{name}.weight", *names.get(f"{name}.weight", ())])), ""
            )
            if hit:
                kept[name] = f"skipped ({hit})"
            elif isinstance(module.stored, QuantTensor):
                raise BadInput(f"{name} is quantised already ({module.stored.fmt})", hint="load the model again")
            else:
                wanted.append((name, module))
    if not wanted:
        raise BadInput("there is nothing to quantise", hint="skip less", param="skip")
    before, weights, dtype = size(model), 0, model.dtype
    with progress(f"quantising to {fmt}", len(wanted), "matrices") as bar:
        for name, module in wanted:
            try:
                held = quantise(module.dense().detach().to(dtype), fmt, **options)
            except BadInput as error:
                error.message = f"{name}: {error.message}"
                raise
            module.hold(held)
            weights += held.shape[0] * held.shape[1]
            bar.advance()
    for module in model.modules():
        if isinstance(module, Linear | Embedding) and isinstance(module.stored, Stored):
            _plain(module, dtype)
    return Quantised(fmt, len(wanted), weights, before, size(model), kept)


def dequantise_model(model: Model, dtype: torch.dtype | None = None) -> Model:
    """Plain weights again, in place (of the model's dtype unless another is given), without gradients."""
    for module in model.modules():
        if isinstance(module, Linear | Embedding) and isinstance(module.stored, QuantTensor):
            _plain(module, dtype or model.dtype)
    return model


def _plain(module: Linear | Embedding, dtype: torch.dtype) -> None:
    assert module.stored is not None
    module.weight = nn.Parameter(module.stored.dequantise(dtype), requires_grad=False)
    module.stored = None


def _named(word: str, names: Sequence[str]) -> bool:
    """Whether a dotted word is a run of whole components of one of the names."""
    return any(f".{word}." in f".{name}." for name in names)


def size(model: nn.Module) -> int:
    """Bytes of all weights, however they are held."""
    total = sum(t.nbytes for t in (*model.parameters(), *(b for m in model.modules() for b in _buffers(m))))
    for module in model.modules():
        if isinstance(module, Linear | Embedding):
            if isinstance(module.stored, Stored):
                total += sum(piece.data.nbytes for piece in module.stored.pieces)
            if isinstance(module, Linear) and module._packed is not None and not module._tied:
                total += module._packed.dtype.itemsize * module.inputs * module.outputs
    return total


def _buffers(module: nn.Module) -> list[torch.Tensor]:
    return list(module.buffers(recurse=False)) if isinstance(module, QuantTensor) else []
