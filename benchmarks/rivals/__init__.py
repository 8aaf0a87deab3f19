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


def llama_cpp_file(source: Path, target: Path) -> None:
    """Copy a GGUF file with every tensor dequantised to float32."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    skip = {"general.architecture", "general.file_type", "general.quantization_version"}
    for name, field in reader.fields.items():
        if name in skip or name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, values.reshape([int(n) for n in reversed(tensor.shape)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
