"""An adapter in its place: attached to a model, trained there, saved, and taken out again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn import Choice, Linear
from idiolect.tune.config import TuneConfig
from idiolect.tune.method import Adapter
from idiolect.tune.weights import fingerprint

if TYPE_CHECKING:
    from idiolect.core.bundle import Bundle


class Mounted:
    """A model's adapter. Its parameters are part of the module tree and are the only ones with `requires_grad`."""

    def __init__(self, model: Model, adapter: Adapter, base: dict[str, str], choices: dict[str, Choice | None]) -> None:
        """`choices` are what the slots held before, for an engine that serves the same model."""
        self.model, self.adapter, self.base, self._choices = model, adapter, base, choices
        self.on = True

    @property
    def config(self) -> TuneConfig:
        return self.adapter.config

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What learns, by its name in the model."""
        if self.on:
            yield from ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def parameters(self) -> Iterator[nn.Parameter]:
        yield from (p for _, p in self.named_parameters())

    @property
    def count(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """The adapter's tensors (views) under the names of an adapter file; of `full`, the whole model's."""
        if self.config.method == "full":
            from idiolect.models.write import tensors

            return tensors(self.model)
        prefix = self.config.kind.prefix
        return {prefix + name: value.detach() for name, value in self.adapter.pieces().items()}

    def save(self, directory: str | Path, *, replace: bool = False) -> Bundle:
        """A folder that peft opens too (`adapter_config.json`, `adapter_model.safetensors`); of `full`, a whole model.
        It appears whole or not at all. A folder that holds files already is `BadInput` unless `replace`."""
        from idiolect.tune.files import write

        return write(self, directory, replace=replace)

    def detach(self) -> Adapter:
        """Leave the model as it was before; the adapter lives on by itself. Nothing of the model learns any more."""
        if self.on:
            for path, choice in self._choices.items():
                slot: Any = self.model.get_submodule(path)
                slot.delta = choice
            self.model.front = None
            self.model.requires_grad_(False)
            self.on = False
        return self.adapter


def attach(model: Model, config: TuneConfig | None = None) -> Mounted:
    """Freeze a model and mount a new adapter, which then is all that learns. `BadInput` when it has one already, or
    when `config` asks for what this model has not."""
    config = config or TuneConfig()
    adapter = config.kind.build(model, config, Streams(config.seed, ("tune", config.method)))
    return mount(model, adapter)


def mount(model: Model, adapter: Adapter, base: dict[str, str] | None = None) -> Mounted:
    """Put an adapter into the slots of its model."""
    for module in model.modules():
        held = getattr(module, "delta", None)
        if held is not None and not isinstance(held, Choice):
            raise BadInput("the model has an adapter already", hint="detach it or merge it first")
    if model.front is not None:
        raise BadInput("the model has an adapter already", hint="detach it first")
    base = base or fingerprint(model)
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, Linear):
            module.freeze()
    choices: dict[str, Choice | None] = {}
    for path, delta in adapter.deltas.items():
        slot: Any = model.get_submodule(path)
        choices[path], slot.delta = slot.delta, delta
        delta.train(model.training).requires_grad_(True)
    if adapter.front is not None:
        model.front = adapter.front.requires_grad_(True)
    if adapter.own:
        for module in model.modules():
            if isinstance(module, Linear):
                module.unpack()
        for name in adapter.own:
            path, _, kind = name.rpartition(".")
            getattr(model.get_submodule(path), kind).requires_grad_(True)
    return Mounted(model, adapter, base, choices)
