"""The last blocks learn, the others stay: each layer there gets a copy of its own that is trained in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.models.names import Rule
from idiolect.nn import LayerNorm, Linear, RMSNorm
from idiolect.tune.method import Adapter, Method, Piece, methods
from idiolect.tune.targets import layer_of
from idiolect.tune.weights import writable

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


@dataclass(frozen=True, slots=True)
class LastConfig:
    """`blocks` from the end, and the norm behind them."""

    blocks: int = 2
    norm: bool = True

    def __post_init__(self) -> None:
        if self.blocks < 0 or (self.blocks == 0 and not self.norm):
            raise BadInput(f"blocks is {self.blocks}", hint="give 1 or more", param="blocks")


class Copy(Piece):
    """A layer's own trainable twin, used in its place."""

    def __init__(self, layer: Any, rules: list[Rule]) -> None:
        super().__init__()
        self.rules = rules
        if isinstance(layer, Linear):
            twin = Linear(layer.inputs, layer.outputs, layer.bias is not None)
            twin.weight = nn.Parameter(layer.dense().detach().clone())
            if layer.bias is not None:
                twin.bias = nn.Parameter(layer.bias.detach().clone())
        else:
            twin = copy.deepcopy(layer)
            twin.delta = None
        self.twin: Any = twin.requires_grad_(True)

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        return self.twin(x)

    def forward(self, x: Tensor, layer: Any) -> Tensor:
        return self.twin(x)

    def pieces(self) -> dict[str, Tensor]:
        found = {}
        for rule in self.rules:
            value, at = getattr(self.twin, rule.name.rpartition(".")[2]).data, 0
            for part in rule.parts:
                rows = part.rows or value.shape[0]
                piece = value[at : at + rows]
                found[part.hf] = piece.t() if part.conv1d else piece
                at += rows
        return found


class LastMethod(Method):
    """The last blocks, as copies of their own."""

    name = "last"
    options = LastConfig
    peft_type = "IDIOLECT_LAST"
    lr = 1e-4

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: LastConfig = config.settings()
        blocks = len(getattr(model, "layers", ()))
        if options.blocks > blocks:
            raise BadInput(f"blocks is {options.blocks}, and the model has {blocks}", param="blocks")
        rules: dict[str, list[Rule]] = {}
        for rule in model.rules():
            path = rule.name.rpartition(".")[0]
            number = layer_of(path)
            if (number is not None and number >= blocks - options.blocks) or (path == "norm" and options.norm):
                rules.setdefault(path, []).append(rule)
        layers = {path: model.get_submodule(path) for path in rules}
        return Adapter(
            config,
            {p: Copy(m, rules[p]) for p, m in layers.items() if isinstance(m, Linear | RMSNorm | LayerNorm)},
        )

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        options: LastConfig = adapter.config.settings()
        return {"blocks": options.blocks, "norm": options.norm}

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        return {"blocks": int(found.get("blocks", 2)), "norm": bool(found.get("norm", True))}

    def merge(self, model: Model, adapter: Adapter) -> int:
        with torch.no_grad():
            for path, delta in adapter.deltas.items():
                assert isinstance(delta, Copy)
                layer: Any = model.get_submodule(path)
                (writable(layer) if isinstance(layer, Linear) else layer.weight.data).copy_(delta.twin.weight)
                if getattr(layer, "bias", None) is not None:
                    layer.bias.data.copy_(delta.twin.bias)
        return len(adapter.deltas)


methods.register("last")(LastMethod())
