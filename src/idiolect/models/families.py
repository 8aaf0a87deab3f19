"""Which class reads which model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.models.base import Model
from idiolect.models.bert import Bert
from idiolect.models.gpt2 import GPT2
from idiolect.models.llama import Llama

FAMILIES: tuple[type[Model], ...] = (Llama, GPT2, Bert)


def family_of(config: Mapping[str, Any]) -> type[Model]:
    """The family of a config.json. `BadInput` with the known ones when there is none."""
    kind = config.get("model_type")
    known = {t: family for family in FAMILIES for t in family.model_types}
    if kind not in known:
        raise BadInput(f"model_type {kind!r} is not supported", hint=did_you_mean(str(kind), known))
    if "quantization_config" in config:
        raise BadInput(
            "the weights are quantised in a way that only their own kernels read",
            hint="give the unquantised model or a GGUF file",
        )
    return known[kind]


def family_of_gguf(architecture: str) -> type[Model]:
    """The family of a GGUF file's `general.architecture`."""
    known = {a: family for family in FAMILIES for a in family.gguf_architectures}
    if architecture not in known:
        raise BadInput(f"GGUF architecture {architecture!r} is not supported", hint=did_you_mean(architecture, known))
    return known[architecture]
