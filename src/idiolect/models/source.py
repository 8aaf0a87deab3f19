"""What a source of weights turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from idiolect.models.names import Dialect


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model came from and what was found there. `asked` is what the caller wrote.

    `tensor_types` counts the stored types ("F32": 61, "Q4_1": 210), `sha256` has the hash of every file or wheel
    whose hash was checked or is known, `notes` says in words what a person should know.
    """

    asked: str
    kind: str  # "gguf" or "huggingface"
    path: Path  # the file, or the folder
    files: tuple[str, ...]
    family: str  # config.json's model_type
    parameters: int
    bytes: int
    tensor_types: Mapping[str, int]
    context: int
    id: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        types = ", ".join(f"{n} {t}" for t, n in self.tensor_types.items())
        return (
            f"{self.id}: {self.family}, {self.parameters / 1e6:.1f} M parameters, {self.bytes / 1e6:.1f} MB ({types}), "
            f"{self.context} positions, from {self.asked}"
        )


class Weights(Protocol):
    """An opened source: names, shapes and types without reading, tensors on demand."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def interleaved(self) -> bool:
        """Whether q and k lie as GGUF's llama architecture stores them."""
        ...

    @property
    def path(self) -> Path: ...

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    @property
    def types(self) -> Mapping[str, str]: ...

    @property
    def bytes(self) -> int: ...

    def raw(self, name: str) -> tuple[int, np.ndarray] | None:
        """ggml's type number and the rows as bytes [rows, bytes a row] of a matrix; None where that is not how this
        source keeps it."""
        ...

    def tensor(self, name: str) -> Tensor:
        """The tensor in a floating-point type (float32 where it was quantised), perhaps memory-mapped."""
        ...

    def let_go(self) -> None:
        """Give back the memory of what was read and is not in use any more; the source stays open."""
        ...


@dataclass(slots=True)
class Opened:
    """A source, opened: its weights, its configuration, and the files of words that lie beside it."""

    weights: Weights
    config: dict[str, Any]
    id: str
    fields: Mapping[str, Any] | None = None  # GGUF metadata
    folder: Path | None = None  # of a Hugging Face directory
    sha256: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    generation: dict[str, Any] = field(default_factory=dict)  # advice of the model's makers that its file leaves out
