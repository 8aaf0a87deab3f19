"""What every model is: a module over packed batches that carries its tokenizer, template and origin with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from idiolect.core.call import Sampling
from idiolect.models.names import Rule
from idiolect.nn import Batch, Embedding, Paged, StateSpec

if TYPE_CHECKING:
    from idiolect.models.pooling import Pooling
    from idiolect.models.source import Opened, Source
    from idiolect.text.hf import HFTokenizer
    from idiolect.text.template import Template


class Fronting(Protocol):
    """Something learned that stands before every sequence (prefix and prompt tuning; see `tune`)."""

    tokens: int

    def stem(self, run: Callable[[Batch], Tensor], model: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Keys and values [Hkv, P, Dh] of each layer, as every sequence sees them."""
        ...

    def hidden(self, run: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """[N, D] of the batch's own rows; `run` is the model without it."""
        ...


def with_front(hidden: Callable[[Any, Batch], Tensor]) -> Callable[[Any, Batch], Tensor]:
    """Decorates a family's `hidden`, so that what stands in front of a sequence can be trained."""

    @wraps(hidden)
    def run(self: Model, batch: Batch) -> Tensor:
        return hidden(self, batch) if self.front is None else self.front.hidden(partial(hidden, self), batch)

    return run


def bare(model: Model) -> Callable[[Batch], Tensor]:
    """The model's `hidden` without what stands in front."""
    return model.hidden if model.front is None else partial(type(model).hidden.__wrapped__, model)  # type: ignore[attr-defined]


class Model(nn.Module):
    """A network and the words around it. `models.load` fills the attributes that a bare network has not.

    `raw` is the model's config.json, unchanged (made from the metadata when the source was a GGUF file). `attention`
    names the back end that `attend` uses.
    """

    model_types: ClassVar[tuple[str, ...]] = ()  # values of config.json's `model_type`
    gguf_architectures: ClassVar[tuple[str, ...]] = ()
    hf_prefix: str = ""  # files of the bare model leave it out
    ignored: ClassVar[tuple[str, ...]] = ()  # regular expressions of tensor names that carry nothing we use

    config: Any
    source: Source

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__()
        self.raw = dict(raw)
        self.attention = "sdpa"
        self.front: Any = None  # a `Fronting` module while one is trained
        self.id = str(raw.get("model_type", "model"))
        self.tokenizer: HFTokenizer = None  # type: ignore[assignment]  # a bare network has none
        self.template: Template | None = None
        self.sampling = Sampling()
        self.generation: dict[str, Any] = {}  # generation_config.json, unchanged

    @classmethod
    @abstractmethod
    def config_from_gguf(cls, fields: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """A config.json from a GGUF file's metadata and its tensors' shapes."""

    @abstractmethod
    def rules(self) -> list[Rule]:
        """The names of our parameters in other files."""

    @abstractmethod
    def hidden(self, batch: Batch) -> Tensor:
        """[N, D] after the last norm; the batch's state, if any, is extended."""

    @property
    @abstractmethod
    def context(self) -> int:
        """The longest sequence that the positions allow."""

    def initialise(self, std: float = 0.02, generator: torch.Generator | None = None) -> None:
        """Random weights for a network that no file fills: matrices normal with `std`, biases 0, norms 1."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, std, generator=generator)
                else:
                    parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def after_load(self, opened: Opened) -> None:
        """Read what else the source holds for this family (pooling of an encoder)."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class CausalModel(Model):
    """A language model that predicts the next token."""

    @abstractmethod
    def logits(self, h: Tensor) -> Tensor:
        """[M, D] -> [M, V] in the model's dtype."""

    @abstractmethod
    def state_specs(self) -> list[StateSpec]:
        """What each layer keeps per token, so that memory is arithmetic."""

    @property
    def room(self) -> int:
        """The longest text of a caller: the context less what stands in front."""
        return self.context - (self.front.tokens if self.front is not None else 0)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [M, V] of the wanted rows (all when `batch.out` is None)."""
        h = self.hidden(batch)
        return self.logits(h if batch.out is None else h[batch.out])


class Encoder(Model):
    """A model that turns texts into vectors. `max_tokens` counts the framing tokens ([CLS], [SEP]) too."""

    pooling: Pooling = "mean"
    normalize: bool = True
    max_tokens: int

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the width of a vector."""

    def embed_batch(self, batch: Batch) -> Tensor:
        """One vector per segment [S, D], pooled and normalised as the model was trained."""
        from idiolect.models.pooling import pool

        return pool(self.hidden(batch), batch, self.pooling, self.normalize)


def embedding(rows: int, dim: int) -> Embedding:
    """A table whose values come later (from a file, or from `Model.initialise`)."""
    return Embedding(rows, dim)


def paged(layers: int, kv_heads: int, head_dim: int) -> list[StateSpec]:
    return [Paged(kv_heads, head_dim)] * layers
