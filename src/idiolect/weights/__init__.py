"""Weights in another form: quantise them, and write them where other programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.core import lazy

if TYPE_CHECKING:
    from idiolect.weights.quant import FORMATS, QuantTensor, quantise
    from idiolect.weights.reread import Comparison
    from idiolect.weights.to_gguf import Exported, export_gguf
    from idiolect.weights.to_hf import export_hf
    from idiolect.weights.whole import Quantised, dequantise_model, quantise_model

__all__ = [
    "FORMATS",
    "Comparison",
    "Exported",
    "QuantTensor",
    "Quantised",
    "dequantise_model",
    "export_gguf",
    "export_hf",
    "quantise",
    "quantise_model",
]

_WHERE = {  # the module of each name; none is called like a name, or its import would hide it
    "FORMATS": "quant",
    "Comparison": "reread",
    "Exported": "to_gguf",
    "QuantTensor": "quant",
    "quantise": "quant",
    "Quantised": "whole",
    "dequantise_model": "whole",
    "export_gguf": "to_gguf",
    "export_hf": "to_hf",
    "quantise_model": "whole",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a command that only plans must not import torch."""
    return lazy.attribute(__name__, _WHERE, name)
