"""What every way of adapting has to say, and what it builds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.registry import Registry
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn import Batch, Delta
from idiolect.tune.targets import means, resolve

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


class Piece(Delta):
    """A delta that knows what its tensors are called in a file."""

    names: tuple[str, ...] = ()  # Hugging Face's names of the parts that it changes

    @abstractmethod
    def pieces(self) -> dict[str, Tensor]:
        """Views of the parameters, under Hugging Face's (peft's) names; filling them fills the delta."""


class Front(nn.Module):
    """Virtual tokens before every sequence. `tokens` is how many."""

    tokens: int

    @abstractmethod
    def hidden(self, run: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """What the model computes for a batch [N, D] with the tokens before each of its segments."""

    @abstractmethod
    def stem(self, run: Callable[[Batch], Tensor], model: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The tokens' keys and values [Hkv, P, Dh] in each layer; `run` is the model without them."""

    @abstractmethod
    def pieces(self) -> dict[str, Tensor]:
        """As `Piece.pieces`."""


@dataclass(slots=True)
class Adapter:
    """A method's deltas for one model: not in its slots yet (`tune.attach` mounts, an engine chooses per request).

    `deltas` by the path of their slot; `front` stands before every sequence; `own` names parameters of the model
    itself that learn (`last`, `full`)."""

    config: TuneConfig
    deltas: dict[str, Piece] = field(default_factory=dict)
    front: Front | None = None
    own: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Virtual tokens before every sequence."""
        return self.front.tokens if self.front is not None else 0

    def pieces(self) -> dict[str, Tensor]:
        """Every tensor of the deltas under its name in a file (`own` ones are the model's to give)."""
        found: dict[str, Tensor] = {}
        for delta in self.deltas.values():
            found.update(delta.pieces())
        if self.front is not None:
            found.update(self.front.pieces())
        return found


class Method:
    """A way of adapting: one file, one instance, registered by name."""

    name: ClassVar[str]
    options: ClassVar[type]  # a frozen dataclass
    peft_type: ClassVar[str]  # in adapter_config.json; peft's own where peft has the method
    lr: ClassVar[float]  # the learning rate (AdamW) to begin with
    prefix: ClassVar[str] = "base_model.model."  # of names in adapter_model.safetensors

    @abstractmethod
    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        """The deltas on the model's device, with their first values; without `streams` with any (a file fills them)."""

    @abstractmethod
    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        """The method's part of adapter_config.json."""

    @abstractmethod
    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        """Options from an adapter_config.json. `BadInput` for what is asked and not there."""

    def merge(self, model: Model, adapter: Adapter) -> int:
        """Add the deltas to the model's own weights; how many matrices changed. `BadInput` where that cannot be."""
        raise BadInput(
            f"an adapter of method {self.name!r} cannot be merged: it is no change of a matrix",
            hint="serve it beside the model (idiolect up --adapter)",
        )


methods: Registry[Method] = Registry("tuning method")


OTHERWISE = "merge it into its base with peft (merge_and_unload), and load the result as a model"


def patterns_of(model: Model, found: Mapping[str, Any]) -> tuple[str, ...]:
    """peft's `target_modules` as our patterns: a list of name ends, or one regular expression; where `exclude_modules`
    takes some of them out again, the names of those that are left."""
    targets = found.get("target_modules")
    if isinstance(targets, str):
        patterns: tuple[str, ...] = (targets if targets == "all-linear" else f"re:{targets}",)
    elif isinstance(targets, list | tuple) and targets:
        patterns = tuple(str(t) for t in targets)
    else:
        raise BadInput("adapter_config.json has no target_modules", hint="get the adapter again")
    without = found.get("exclude_modules")
    if not without:
        return patterns
    out = (f"re:{without}",) if isinstance(without, str) else tuple(str(w) for w in without)
    names = [part.hf for target in resolve(model, patterns, layers_of(found)) for part in target.parts]
    return tuple(name for name in names if not any(means(pattern, name) for pattern in out))


def refuse(found: Mapping[str, Any], *names: str) -> None:
    """`BadInput` for the first of these keys that asks for something."""
    for name in names:
        if found.get(name) not in (None, False, [], {}, "none", "default"):
            raise BadInput(
                f"the adapter uses {name}={found[name]!r}, which is not supported", hint=OTHERWISE, param=name
            )


def layers_of(found: Mapping[str, Any]) -> list[int] | None:
    """peft's `layers_to_transform`; an empty list is all of them."""
    layers = found.get("layers_to_transform")
    return [layers] if isinstance(layers, int) else list(layers) if layers else None
