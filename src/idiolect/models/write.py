"""Write a model as a directory that transformers, and `models.load`, open."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idiolect.core.bundle import Bundle, Parent, writing
from idiolect.core.errors import BadInput
from idiolect.models.base import Encoder, Model
from idiolect.models.names import split
from idiolect.nn import Embedding, Linear

SHARD = 4 << 30  # bytes of weights per file


def save(
    model: Model,
    directory: str | Path,
    *,
    replace: bool = False,
    shard_bytes: int = SHARD,
    dtype: torch.dtype | None = None,
) -> Bundle:
    """Write config.json, safetensors, tokenizer, template, generation defaults and lineage into `directory`.

    The folder appears whole or not at all. Weights get `dtype` (None: that which the model has now), and Hugging
    Face's names and shapes. A folder that holds files already is `BadInput` unless `replace`.
    """
    dtype = dtype or model.dtype
    config = {**model.raw, "dtype": str(dtype).removeprefix("torch.")}
    config.pop("torch_dtype", None)
    source = getattr(model, "source", None)
    parents = [Parent(source.asked, next(iter(source.sha256.values()), ""))] if source is not None else []
    with writing(directory, made={"by": "models.save"}, parents=parents, replace=replace) as folder:
        write_json(folder / "config.json", config)
        write_weights(model, folder, shard_bytes, dtype)
        if model.tokenizer is not None:
            model.tokenizer.save(folder)
            limit = {"model_max_length": model.context}
            settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
            write_json(folder / "tokenizer_config.json", {**settings, **limit})
        if model.template is not None:
            (folder / "chat_template.jinja").write_text(model.template.source, encoding="utf-8")
        if model.generation:
            write_json(folder / "generation_config.json", model.generation)
        if isinstance(model, Encoder):
            write_pooling(model, folder)
    return Bundle.open(directory)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def value_of(model: Model, name: str) -> Tensor:
    """Our parameter of that name as a plain tensor: the CPU's own layout and quantised matrices become floats."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(module, Linear | Embedding) and leaf == "weight":
        value: Tensor = module.dense() if module.stored is None else module.stored.dequantise(model.dtype)
    else:
        value = getattr(module, leaf)
    return value.detach()


def tensors(model: Model, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Every weight under its Hugging Face name, in the model's dtype or another."""
    found: dict[str, Tensor] = {}
    for rule in model.rules():
        found.update(split(value_of(model, rule.name).to("cpu", dtype), rule))
    return found


def write_weights(model: Model, folder: Path, shard_bytes: int, dtype: torch.dtype) -> None:
    """model.safetensors, or numbered shards with an index when the weights are larger than one shard."""
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, value in tensors(model, dtype).items():
        if value.nbytes > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = value
        room -= value.nbytes
    meta: Mapping[str, str] = {"format": "pt"}
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", meta)
        return
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, meta)
        index.update(dict.fromkeys(shard, file))
    total = sum(t.nbytes for shard in shards for t in shard.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def save_file(tensors: dict[str, Tensor], path: Path, meta: Mapping[str, str]) -> None:
    """safetensors' own, with what the operating system said as an `OSError` again (a full disk is one)."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file as save

    try:
        save(tensors, path, dict(meta))
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def write_pooling(model: Encoder, folder: Path) -> None:
    """The files by which sentence-transformers knows how to pool."""
    if model.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise BadInput(f"an encoder of dtype {model.dtype} cannot be saved", hint="use float32")
    kinds = ["models.Transformer", "models.Pooling"] + (["models.Normalize"] if model.normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths))
        ],
    )
    (folder / "1_Pooling").mkdir()
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": model.width,
            "pooling_mode_cls_token": model.pooling == "cls",
            "pooling_mode_mean_tokens": model.pooling == "mean",
        },
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": model.max_tokens, "do_lower_case": False})
