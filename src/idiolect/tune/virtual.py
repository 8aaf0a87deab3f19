"""Virtual tokens that stand before every sequence: how many, and what they are at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import CausalModel, Model


@dataclass(frozen=True, slots=True)
class VirtualConfig:
    """`tokens` virtual tokens that begin as those of `text` (repeated or cut to fit), or, without one, as random words
    of the vocabulary (Lester et al. 2021, section 3.2, found both far better than random numbers)."""

    tokens: int = 20
    text: str | None = None

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise BadInput(f"tokens is {self.tokens}", hint="give 1 or more; 10 to 100 is usual", param="tokens")

    def ids(self, model: Model, streams: Streams) -> list[int]:
        """The real tokens to begin with."""
        size = int(model.config.vocab)
        if self.text is None:
            return torch.randint(size, (self.tokens,), generator=streams.torch("words")).tolist()
        if model.tokenizer is None:
            raise BadInput("the model has no tokenizer to read text with", hint="leave text out", param="text")
        found = model.tokenizer.encode(self.text)
        if not found:
            raise BadInput("text has no tokens", hint="give some words", param="text")
        return [found[i % len(found)] for i in range(self.tokens)]


def decoder(model: Model) -> CausalModel:
    """`BadInput` for a model before whose sequences nothing can stand."""
    if not isinstance(model, CausalModel) or not hasattr(type(model).hidden, "__wrapped__"):
        raise BadInput(f"{model.id} takes no virtual tokens", hint="use lora, ia3 or bottleneck", param="method")
    return model


def stateless(batch: Any) -> None:
    if batch.state is not None:
        raise BadInput(
            "a model with mounted virtual tokens cannot generate",
            hint="detach them, and give the saved adapter to the engine (add_adapter)",
        )
