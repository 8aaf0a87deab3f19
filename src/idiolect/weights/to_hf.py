"""Write a model as a Hugging Face directory, in a dtype of one's choice, and read it back."""

from __future__ import annotations

from pathlib import Path

import torch

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.models.base import Model
from idiolect.models.write import save
from idiolect.weights.reread import compare
from idiolect.weights.to_gguf import Exported

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def export_hf(
    model: Model, directory: str | Path, type: str | None = None, *, replace: bool = False, check: bool = True
) -> Exported:
    """Write `directory` (`models.save`), whole or not at all, in `type` ("f32", "f16", "bf16"; None: the model's own
    dtype), then load it and compare (`check`)."""
    if type is not None and type not in DTYPES:
        raise BadInput(
            f"a Hugging Face directory has no type {type!r}", hint=did_you_mean(type, list(DTYPES)), param="type"
        )
    dtype = model.dtype if type is None else DTYPES[type]
    kind = next((name for name, d in DTYPES.items() if d == dtype), str(dtype))
    bundle = save(model, directory, replace=replace, dtype=dtype)
    size = sum(path.stat().st_size for path in bundle.weights)
    count = sum(len(rule.parts) for rule in model.rules())
    found = compare(model, bundle.path) if check else None
    return Exported(bundle.path, "hf", kind, size, {kind.upper(): count}, (), found)
