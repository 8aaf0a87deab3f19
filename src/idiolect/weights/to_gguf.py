"""Write a model as one GGUF file: weights, configuration, tokenizer and chat template, for llama.cpp and its kin.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Vectors (norms, biases) and position tables stay
float32, as ggml's operations want them. In the 4-bit types the token table and the head are written in Q8_0: they are
a tenth to a quarter of a small model and weigh most on its output. A row length that is no multiple of 32 fits no
block; such a matrix is written in float16 and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.core.files import atomic_path
from idiolect.core.names import did_you_mean
from idiolect.core.progress import progress
from idiolect.models.base import Model
from idiolect.models.bert import Bert
from idiolect.models.names import Part, interleave_halves
from idiolect.models.write import value_of
from idiolect.text.gguf_write import to_gguf
from idiolect.weights.gguf_meta import metadata, one_dtype
from idiolect.weights.reread import Comparison, compare

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "bf16": 32}  # general.file_type
TABLES = ("token_embd.weight", "output.weight")
PLAIN = ("position_embd.weight", "token_types.weight")
INTERLEAVED = ("llama",)  # architectures whose q and k rows are stored with the halves of a rotation interleaved


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `types` counts tensors by stored type; `check` is None when it was not asked for."""

    path: Path
    format: str
    type: str
    bytes: int
    types: Mapping[str, int]
    notes: tuple[str, ...]
    check: Comparison | None

    def lines(self) -> list[str]:
        types = ", ".join(f"{n} {t}" for t, n in self.types.items())
        first = f"{self.path}: {self.format}, {self.bytes / 1e6:.1f} MB ({types})"
        return [first, *(f"note: {note}" for note in self.notes), *([] if self.check is None else [str(self.check)])]


def export_gguf(
    model: Model, path: str | Path, type: str = "q8_0", *, replace: bool = False, check: bool = True
) -> Exported:
    """Write `path`, whole or not at all, then read it back and compare (`check`).

    Raises `BadInput` for a family, tokenizer or rope scaling that GGUF cannot say, an unknown type, or a file that is
    there already (unless `replace`); `Unavailable` when the disk is full.
    """
    path = Path(path)
    if type not in TYPES:
        raise BadInput(f"GGUF type {type!r} is not known", hint=did_you_mean(type, TYPES), param="type")
    if path.is_dir():
        raise BadInput(f"{path} is a folder", hint="give the name of a .gguf file")
    if path.exists() and not replace:
        raise BadInput(f"{path} is there already", hint="say replace, or give another name")
    architecture, fields, more, notes = metadata(model)
    if model.tokenizer is None:
        raise BadInput("the model has no tokenizer", hint="load it with its tokenizer files, or give it one")
    words, said = to_gguf(model.tokenizer, model.config.vocab)
    if isinstance(model, Bert):
        words["tokenizer.ggml.token_type_count"] = model.config.types
    if model.template is not None:
        words["tokenizer.chat_template"] = model.template.source
    head = {"general.name": model.id, "general.file_type": FILE_TYPES[type]}
    if type.startswith("q"):
        head["general.quantization_version"] = 2
    every = {**head, **{f"{architecture}.{key}": value for key, value in fields.items()}, **words}
    with atomic_path(path) as temp:
        counts, widths = _write(temp, architecture, every, model, more, type)
        found = compare(model, temp) if check else None
    if widths:
        told = ", ".join(f"{n} of width {w}" for w, n in sorted(widths.items()))
        notes.append(f"rows that are no multiple of 32 cannot be {type}: {told} written as f16")
    return Exported(path, "gguf", type, path.stat().st_size, counts, (*notes, *said), found)


def _write(
    path: Path, architecture: str, fields: Mapping[str, Any], model: Model, more: Mapping[str, Tensor], type: str
) -> tuple[dict[str, int], dict[int, int]]:
    """Write the file one tensor at a time. Returns how many tensors have each type, and the widths that had none."""
    import gguf

    plan: list[tuple[str, str, Part, tuple[int, ...], str]] = []  # gguf name, our name, part, shape, type
    widths: Counter[int] = Counter()
    for rule in model.rules():
        shape = _shape(model, rule.name)
        for part in rule.parts:
            own = (part.rows, *shape[1:]) if part.rows else shape
            kind = _type(part.gguf, own, type)
            if kind == "f16" and type.startswith("q"):
                widths[own[-1]] += 1
            plan.append((part.gguf, rule.name, part, own, kind))
    writer = gguf.GGUFWriter(None, architecture)
    for key, value in fields.items():
        _field(writer, key, value)
    quant = gguf.GGMLQuantizationType
    for name, _, _, shape, kind in plan:
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _bytes(shape, kind), raw_dtype=quant[kind.upper()])
    for name, value in more.items():
        writer.add_tensor_info(name, value.shape, np.dtype(np.float32), value.nbytes, raw_dtype=quant.F32)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with progress(f"writing {path.name.strip('.').split('.gguf')[0]}.gguf", len(plan), "tensors") as bar:
            cached: tuple[str, Tensor | None] = ("", None)
            at: Counter[str] = Counter()
            for _, ours, part, shape, kind in plan:
                if cached[0] != ours:
                    cached = (ours, value_of(model, ours))
                assert cached[1] is not None
                value = one_dtype(cached[1][at[ours] : at[ours] + shape[0]] if part.rows else cached[1])
                at[ours] += shape[0]
                if part.rope_heads and architecture in INTERLEAVED:
                    value = interleave_halves(value, part.rope_heads).contiguous()
                _put(writer, _encoded(value, kind))
                bar.advance()
        for value in more.values():
            _put(writer, one_dtype(value).numpy())
        writer.flush()
    finally:
        writer.close()
    return dict(Counter(kind.upper() for *_, kind in plan) + Counter({"F32": len(more)})), dict(widths)


def _put(writer: Any, data: np.ndarray) -> None:
    """One tensor's bytes at the next aligned place. (The writer's own way, numpy's `tofile`, is silent on a full
    disk.)"""
    (file,) = writer.fout
    file.write(bytes(-file.tell() % writer.data_alignment))
    file.write(np.ascontiguousarray(data).data)
    file.write(bytes(-file.tell() % writer.data_alignment))


def _shape(model: Model, name: str) -> tuple[int, ...]:
    owner, _, leaf = name.rpartition(".")
    module: Any = model.get_submodule(owner)
    if leaf == "weight" and hasattr(module, "inputs"):
        return (module.outputs, module.inputs)
    if leaf == "weight" and hasattr(module, "num_embeddings"):
        return (module.num_embeddings, module.embedding_dim)
    return tuple(getattr(module, leaf).shape)


def _type(name: str, shape: tuple[int, ...], wanted: str) -> str:
    if len(shape) < 2 or name in PLAIN:
        return "f32"
    if wanted in ("q4_0", "q4_1") and name in TABLES:
        wanted = "q8_0"
    return "f16" if wanted.startswith("q") and shape[-1] % 32 else wanted


def _bytes(shape: tuple[int, ...], kind: str) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]]
    count = int(np.prod(shape))
    return count // block * size


def _encoded(value: Tensor, kind: str) -> np.ndarray:
    if kind == "f32":
        return value.numpy()
    if kind == "f16":
        small = value.half()
        if not bool(small.isfinite().all()):
            raise BadInput("a weight is larger than float16 can say (65,504)", hint="export as bf16 or f32")
        return small.numpy()
    if kind == "bf16":
        return value.to(torch.bfloat16).view(torch.int16).numpy()
    from gguf import GGMLQuantizationType, quants

    return quants.quantize(value.numpy(), GGMLQuantizationType[kind.upper()])


def _field(writer: Any, key: str, value: Any) -> None:
    from gguf import GGUFValueType as Type

    scalars = {bool: Type.BOOL, int: Type.UINT32, float: Type.FLOAT32, str: Type.STRING}
    if isinstance(value, list):
        inner = {**scalars, int: Type.INT32}[type(value[0])] if value else Type.STRING
        writer.add_key_value(key, value, Type.ARRAY, sub_type=inner)
    else:
        writer.add_key_value(key, value, scalars[type(value)])
