"""Full finetuning: every parameter of the model learns, in place. What is saved is a model, not an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.tune.method import Adapter, Method, methods

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


@dataclass(frozen=True, slots=True)
class FullConfig:
    """`embeddings` False leaves the table of words (and what is tied to it) as it is."""

    embeddings: bool = True


class FullMethod(Method):
    """Every parameter, in place."""

    name = "full"
    options = FullConfig
    peft_type = "IDIOLECT_FULL"
    lr = 2e-5

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        if any(getattr(module, "stored", None) is not None for module in model.modules()):
            raise BadInput(
                "stored (quantised) weights cannot learn", hint="load the model with dtype float32, or use lora"
            )
        options: FullConfig = config.settings()
        own = [rule.name for rule in model.rules()]
        if not options.embeddings:
            own = [name for name in own if name.split(".")[0] not in ("embed", "positions", "head")]
        return Adapter(config, own=tuple(own))

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        raise BadInput("full finetuning makes a model, not an adapter", hint="save it with models.save")

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        raise BadInput("a fully finetuned model is no adapter", hint="load it as a model")

    def merge(self, model: Model, adapter: Adapter) -> int:
        return 0


methods.register("full")(FullMethod())
