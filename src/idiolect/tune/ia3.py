"""IA3 (Liu et al. 2022, arXiv:2205.05638): learned factors, one per value, on keys, values and the feed-forward's inner
layer. They begin at one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn import Linear
from idiolect.tune.method import Adapter, Method, Piece, methods, patterns_of, refuse
from idiolect.tune.targets import Target, matrices, resolve
from idiolect.tune.weights import wide, writable

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


@dataclass(frozen=True, slots=True)
class IA3Config:
    """Outputs of `targets` are scaled, except that for those that `inputs` also means the input is. No `targets`: keys,
    values (or the matrix that holds them, where a family has but one) and the feed-forward's second matrix."""

    targets: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("down",)


class IA3(Piece):
    """Factors of a layer's input [In], or of some rows of its output."""

    def __init__(self, target: Target, input: bool, kind: Any) -> None:
        super().__init__()
        self.parts, self.outputs = target.parts, target.layer.outputs
        self.names = tuple(p.hf for p in target.parts)
        self.changes_input = input
        sizes = [target.layer.inputs] if input else [p.count for p in target.parts]
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(n, **kind)) for n in sizes)

    def before(self, x: Tensor) -> Tensor:
        return x * self.factors[0].to(x.dtype) if self.changes_input else x

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        return y if self.changes_input else y * self.whole().to(y.dtype)

    def whole(self) -> Tensor:
        """A factor for every output, 1 where no part was meant."""
        pieces, at = [], 0
        for part, factor in zip(self.parts, self.factors):
            pieces += [factor.new_ones(part.begin - at), factor]
            at = part.end
        return torch.cat([*pieces, self.factors[0].new_ones(self.outputs - at)])

    def pieces(self) -> dict[str, Tensor]:
        shape = (1, -1) if self.changes_input else (-1, 1)
        return {f"{p.hf}.ia3_l": f.data.view(shape) for p, f in zip(self.parts, self.factors)}


class IA3Method(Method):
    """Factors on activations."""

    name = "ia3"
    options = IA3Config
    peft_type = "IA3"
    lr = 1e-2

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: IA3Config = config.settings()
        fed = {t.path for t in resolve(model, options.inputs)} if options.inputs else set()
        whole = {t.path: t for t in matrices(model)}
        apart = any(p.hf.endswith("k_proj") for t in whole.values() for p in t.parts)
        adapter = Adapter(config)
        for target in resolve(model, options.targets or (("k", "v", "down") if apart else ("qkv", "down"))):
            if target.path in fed and len(whole[target.path].parts) > 1:
                raise BadInput(
                    f"{target.parts[0].hf} shares its input with {whole[target.path].parts[-1].hf} in one product here",
                    hint="scale its output instead, or the input of down_proj or o_proj",
                    param="inputs",
                )
            adapter.deltas[target.path] = IA3(target, target.path in fed, wide(model))
        return adapter

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        from idiolect.tune.files import ends

        every = [p.hf for t in matrices(model) for p in t.parts]
        fed = [name for delta in adapter.deltas.values() if delta.changes_input for name in delta.names]
        return {
            "feedforward_modules": ends(fed, every),
            "fan_in_fan_out": any(p.conv1d for rule in model.rules() for p in rule.parts),
        }

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        refuse(found, "modules_to_save")
        inputs = found.get("feedforward_modules") or []
        return {
            "targets": patterns_of(model, found),
            "inputs": (f"re:{inputs}",) if isinstance(inputs, str) else tuple(inputs),
        }

    def merge(self, model: Model, adapter: Adapter) -> int:
        with torch.no_grad():
            for path, delta in adapter.deltas.items():
                layer = model.get_submodule(path)
                assert isinstance(delta, IA3) and isinstance(layer, Linear)
                weight = writable(layer)
                factor = delta.factors[0][None] if delta.changes_input else delta.whole()[:, None]
                weight.copy_(weight.to(factor.dtype) * factor)
                if layer.bias is not None and not delta.changes_input:
                    layer.bias.copy_(layer.bias.to(factor.dtype) * factor[:, 0])
        return len(adapter.deltas)


methods.register("ia3")(IA3Method())
