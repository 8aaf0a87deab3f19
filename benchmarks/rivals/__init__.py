"""Rivals on our own weights: the same numbers in the same dtype, written where the rival can read them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).parent / "questions.txt"


def questions() -> list[str]:
    """Twenty short prompts of mixed kinds, one a line."""
    return QUESTIONS.read_text(encoding="utf-8").splitlines()


def transformers_model(model: Any, dtype: str) -> Any:
    """`model` (loaded in float32) as transformers' own class, in `dtype`, through a directory that we write."""
    import torch
    import transformers

    from idiolect import models

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        models.save(model, folder)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def llama_cpp_file(source: Path, target: Path, kind: str = "F32", only: tuple[str, ...] = ()) -> None:
    """Copy a GGUF file with its tensors in another type: every one, or only those of the types in `only`."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    wanted = gguf.GGMLQuantizationType[kind]
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    skip = {"general.architecture", "general.file_type", "general.quantization_version"}
    for name, field in reader.fields.items():
        if name in skip or name.startswith("GGUF."):
            continue
        of = field.types[0]
        inner = field.types[-1] if of == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), of, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType[f"ALL_{kind}" if kind == "F32" else f"MOSTLY_{kind}"])
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        if only and tensor.tensor_type.name not in only:
            plain = tensor.tensor_type == gguf.GGMLQuantizationType.F32
            data = np.array(tensor.data)
            writer.add_tensor(tensor.name, data.reshape(shape) if plain else data, raw_dtype=tensor.tensor_type)
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if wanted == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
