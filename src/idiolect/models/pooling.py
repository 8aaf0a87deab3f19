"""From token vectors to one vector per text, as sentence-transformers' files describe it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile
from idiolect.models.words import read_json
from idiolect.nn import Batch

if TYPE_CHECKING:
    from idiolect.models.source import Opened

Pooling = Literal["mean", "cls"]


def pool(h: Tensor, batch: Batch, pooling: Pooling, normalize: bool) -> Tensor:
    """[N, D] -> [S, D]: the mean of each segment's rows, or its first row; of length 1 when `normalize`."""
    if pooling == "cls":
        out = h[batch.cu[:-1].long()]
    else:
        out = torch.segment_reduce(h.float(), "mean", offsets=batch.cu.long(), axis=0).to(h.dtype)
    return torch.nn.functional.normalize(out, dim=-1) if normalize else out


def pooling_of(opened: Opened) -> tuple[Pooling, bool, int | None]:
    """(pooling, normalise, longest text in tokens) of a source. Without sentence-transformers files: the mean,
    normalised. `BadInput` for a module that we do not have."""
    if opened.fields is not None:
        kind = opened.fields.get("bert.pooling_type", 1)
        if kind not in (0, 1, 2):
            raise BadInput(f"pooling type {kind} of the GGUF file is not supported", hint="mean and cls are")
        return ("cls" if kind == 2 else "mean"), True, None
    assert opened.folder is not None
    listing = opened.folder / "modules.json"
    if not listing.exists():
        opened.notes.append("no modules.json: mean pooling, normalised")
        return "mean", True, None
    try:
        modules: list[dict[str, Any]] = json.loads(listing.read_text("utf-8"))
        kinds = [(str(m["type"]).rsplit(".", 1)[-1], str(m.get("path", ""))) for m in modules]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{listing} cannot be read: {error}", hint="get the file again") from None
    pooling: Pooling = "mean"
    normalize, limit = False, None
    for kind, where in kinds:
        if kind == "Transformer":
            settings = read_json(opened.folder / where / "sentence_bert_config.json")
            limit = settings.get("max_seq_length")
        elif kind == "Pooling":
            pooling = _mode(read_json(opened.folder / where / "config.json"))
        elif kind == "Normalize":
            normalize = True
        else:
            raise BadInput(f"sentence-transformers module {kind} is not supported", hint="Pooling and Normalize are")
    return pooling, normalize, limit


def _mode(settings: dict[str, Any]) -> Pooling:
    named = settings.get("pooling_mode")
    on = [k for k, v in settings.items() if k.startswith("pooling_mode_") and v] if named is None else [named]
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "mean": "mean",
        "cls": "cls",
    }
    if len(on) != 1 or on[0] not in known:
        raise BadInput(f"pooling {on} is not supported", hint="mean and cls are")
    return known[on[0]]
