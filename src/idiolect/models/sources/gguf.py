"""GGUF files: every tensor type that the `gguf` package can dequantise."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.models.source import Opened
from idiolect.models.sources.dequantize import dequantize
from idiolect.models.sources.gguf_file import Header

QUANT_SUFFIX = re.compile(r"[.-](I?Q\d+_\w+|F16|F32|BF16|TQ\d_0|MXFP4)$", re.IGNORECASE)


class GGUFWeights:
    """A memory-mapped GGUF file. Raises `CorruptFile` when it is no GGUF file or ends too early, `BadInput` for a
    tensor type that cannot be dequantised."""

    dialect = "gguf"

    def __init__(self, path: Path) -> None:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        header = Header(path)
        self.path, self.files, self.bytes = path, (path.name,), path.stat().st_size
        self.fields = header.fields
        self.interleaved = self.fields.get("general.architecture") in ("llama", "mistral")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        self._stored: dict[str, tuple[np.ndarray, GGMLQuantizationType]] = {}
        for name, tensor in header.tensors.items():
            try:
                kind = GGMLQuantizationType(tensor.type)
                block, size = GGML_QUANT_SIZES[kind]
            except (ValueError, KeyError):
                raise BadInput(
                    f"tensor {name} of {path} has unknown type {tensor.type}",
                    hint="convert the file to a type such as Q4_K, Q8_0 or F16",
                ) from None
            if not tensor.shape or tensor.shape[-1] % block:
                raise CorruptFile(f"{path}: {kind.name} tensor {name} has shape {tensor.shape}", hint="get it again")
            rows = math.prod(tensor.shape[:-1])
            width = tensor.shape[-1] // block * size
            if tensor.begin + rows * width > self.bytes:
                raise CorruptFile(f"{path} ends inside tensor {name}", hint="the file is truncated; get it again")
            data = np.frombuffer(header.data, np.uint8, rows * width, tensor.begin).reshape(*tensor.shape[:-1], width)
            self.shapes[name], self.types[name] = tensor.shape, kind.name
            self._stored[name] = (data, kind)

    def raw(self, name: str) -> tuple[int, np.ndarray] | None:
        data, kind = self._stored[name]
        return int(kind), data

    def tensor(self, name: str) -> Tensor:
        data, kind = self._stored[name]
        return dequantize(data, kind, self.shapes[name], str(self.path), name)

    def let_go(self) -> None:
        """Nothing: there is one map, which goes when the source does."""


def open_gguf(path: Path) -> Opened:
    """Open a GGUF file and derive its config.json."""
    from idiolect.models.families import family_of_gguf
    from idiolect.models.gguf_config import llama3_scaling

    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="give the path of a .gguf file")
    weights = GGUFWeights(path)
    architecture = str(weights.fields.get("general.architecture", ""))
    family = family_of_gguf(architecture)
    if not weights.shapes:
        raise BadInput(f"{path} holds no tensors", hint="this is a vocabulary file; give one with weights")
    if "split.count" in weights.fields and int(weights.fields["split.count"]) > 1:
        raise BadInput(f"{path} is one part of a split file", hint="join the parts with gguf-split --merge")
    try:
        config = family.config_from_gguf(weights.fields, weights.shapes)
    except KeyError as missing:
        raise CorruptFile(f"{path} has no tensor {missing}", hint="get the file again") from None
    if "rope_freqs.weight" in weights.shapes:
        factors = weights.tensor("rope_freqs.weight")
        scaling = llama3_scaling(factors, config["head_dim"], config["rope_theta"])
        if scaling is None:
            raise BadInput(f"{path} has rope factors of an unknown kind", hint="those of Llama 3.1 and 3.2 are known")
        config["rope_scaling"] = scaling
    config["torch_dtype"] = "float32"
    return Opened(weights, config, model_id(path.stem), fields=weights.fields)


def model_id(stem: str) -> str:
    """A short name: the file's name without its quantisation, in lower case."""
    return QUANT_SUFFIX.sub("", stem).lower() or "model"
