"""GGUF files: every tensor type that the `gguf` package can dequantise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.models.source import Opened
from idiolect.models.sources.dequantize import dequantize

QUANT_SUFFIX = re.compile(r"[.-](I?Q\d+_\w+|F16|F32|BF16|TQ\d_0|MXFP4)$", re.IGNORECASE)


class GGUFWeights:
    """A memory-mapped GGUF file. Raises `CorruptFile` when it is no GGUF file or ends too early."""

    dialect = "gguf"

    def __init__(self, path: Path) -> None:
        import gguf

        self.path, self.files = path, (path.name,)
        self.bytes = path.stat().st_size
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise CorruptFile(f"{path} is not a GGUF file", hint="a GGUF file begins with the letters GGUF")
        try:
            reader = gguf.GGUFReader(path)
            self.fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        except KeyError as error:
            raise CorruptFile(f"{path} has a part that is not understood: {error}", hint="get the file again") from None
        except (ValueError, IndexError, OverflowError, MemoryError, UnicodeDecodeError) as error:
            unknown = re.match(r"(\d+) is not a valid GGMLQuantizationType", str(error))
            if unknown:
                raise CorruptFile(
                    f"{path} has a tensor of unknown type {unknown[1]}", hint="a newer `gguf` package may know it"
                ) from None
            raise CorruptFile(
                f"{path} is truncated or damaged ({type(error).__name__}: {str(error)[:120]})",
                hint="get the file again",
            ) from None
        self.interleaved = self.fields.get("general.architecture") in ("llama", "mistral")
        self._tensors = {t.name: t for t in reader.tensors}
        self.shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
        self.types = {t.name: t.tensor_type.name for t in reader.tensors}
        for t in reader.tensors:
            if t.data_offset + t.n_bytes > self.bytes:
                raise CorruptFile(f"{path} ends inside tensor {t.name}", hint="get the file again")

    def tensor(self, name: str) -> Tensor:
        stored = self._tensors[name]
        return dequantize(np.asarray(stored.data), stored.tensor_type, self.shapes[name], str(self.path), name)


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
