"""A GGUF file's metadata, read as a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput


class Metadata:
    """Keys of the file's own architecture: `integer("block_count")` reads `llama.block_count`."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.architecture = str(fields.get("general.architecture", ""))

    def get(self, key: str, default: Any = None) -> Any:
        return self.fields.get(f"{self.architecture}.{key}", default)

    def integer(self, key: str, default: int | None = None) -> int:
        return int(self._required(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        """A float32 of the file as the shortest decimal that means it: 9.99999974e-06 reads as 1e-05."""
        return float(f"{float(self._required(key, default)):.7g}")

    def _required(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        if isinstance(value, (list, tuple)):
            if len(set(value)) != 1:
                raise BadInput(
                    f"{self.architecture}.{key} differs from layer to layer: {list(value)[:8]}",
                    hint="such models are not supported yet",
                )
            value = value[0]
        if value is None:
            raise BadInput(
                f"the GGUF file has no {self.architecture}.{key}", hint="write the file again with a newer converter"
            )
        return value


def rope_scaling_from_gguf(meta: Metadata) -> dict[str, Any] | None:
    """config.json's `rope_scaling`, or None. (Llama 3's factors are a tensor, see `rope_factors`.)"""
    kind = meta.get("rope.scaling.type")
    factor = meta.get("rope.scaling.factor", meta.get("rope.scale_linear"))
    if kind in (None, "none") and factor in (None, 0.0, 1.0):
        return None
    kind = kind or "linear"
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise BadInput(f"rope scaling {kind!r} of the GGUF file is not known", hint="linear and yarn are")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": float(factor)}
    original = meta.get("rope.scaling.original_context_length")
    if original is not None:
        scaling["original_max_position_embeddings"] = int(original)
    return scaling


def llama3_scaling(factors: Any, dim: int, base: float) -> dict[str, Any] | None:
    """The `rope_scaling` of a Llama 3 model whose GGUF file stores the factors per channel (`rope_freqs.weight`).

    The parameters are not in the file; the published ones are tried, and None means that none of them fits.
    """
    import torch

    from idiolect.nn.rope import inverse_frequencies, llama3

    plain = inverse_frequencies(dim, base)
    wanted = plain / torch.as_tensor(factors, dtype=torch.float32)
    for factor in (8.0, 32.0, 16.0, 4.0):
        scaling: dict[str, Any] = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        if torch.allclose(llama3(plain, scaling), wanted, rtol=1e-4):
            return scaling
    return None
