"""What the tests of tuning share: a small random decoder, packed batches, and adapters with values that matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from idiolect.models.gpt2 import GPT2
from idiolect.models.llama import Llama
from idiolect.nn import Batch
from idiolect.tune import Mounted, TuneConfig
from tests.models.tiny import GPT2 as GPT2_CONFIG
from tests.models.tiny import LLAMA

METHODS = {  # every method with options that touch parts of fused matrices
    "lora": TuneConfig("lora", ("q", "v", "down", "up"), rank=3, alpha=5.0),
    "lora-all": TuneConfig("lora", ("all",), rank=4),
    "rslora": TuneConfig("lora", ("q", "k", "v", "o"), rank=4, options={"rslora": True}),
    "dora": TuneConfig("lora", ("q", "v", "o", "gate"), rank=4, options={"dora": True}),
    "ia3": TuneConfig("ia3"),
    "bottleneck": TuneConfig("bottleneck", rank=6),
    "last": TuneConfig("last", options={"blocks": 1}),
    "prefix": TuneConfig("prefix", options={"tokens": 5}),
    "prompt": TuneConfig("prompt", options={"tokens": 5}),
}
ZERO = ("lora", "lora-all", "rslora", "dora", "ia3", "bottleneck", "last")  # begin as the base
MERGES = ("lora", "lora-all", "rslora", "dora", "ia3", "last")


def tiny(seed: int = 0, kind: str = "llama", **changes: Any) -> Llama | GPT2:
    """Random weights, large enough that every difference shows; float64, so that rounding decides nothing."""
    raw = {"llama": LLAMA, "gpt2": GPT2_CONFIG}[kind]
    model = (Llama if kind == "llama" else GPT2)({"model_type": kind, **raw, **changes})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            near = 1.0 if parameter.ndim == 1 else 0.0
            parameter.copy_(near + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double().requires_grad_(False).eval()


def shake(mounted: Mounted, seed: int = 1, scale: float = 0.1) -> Mounted:
    """Move every value of an adapter, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in mounted.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * scale)
    return mounted


def segments(seed: int = 3, lengths: tuple[int, ...] = (7, 4, 4, 9, 1), vocabulary: int = 96) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in lengths]


def logits(model: Any, parts: list[list[int]] | None = None) -> Tensor:
    with torch.no_grad():
        return model(Batch.pack(parts if parts is not None else segments()))
