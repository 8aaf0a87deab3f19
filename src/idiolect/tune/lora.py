"""LoRA (Hu et al. 2021, arXiv:2106.09685): y = W x + (alpha / r) B A x, with B zero at first.

Options: `rslora` scales by alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732); `dora` learns the length of every
row of the matrix apart from its direction (Liu et al. 2024, arXiv:2402.09353).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn import Linear
from idiolect.tune.lowrank import low_rank
from idiolect.tune.method import Adapter, Method, Piece, layers_of, methods, patterns_of, refuse
from idiolect.tune.targets import Rows, resolve
from idiolect.tune.weights import grow, wide

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """`rank` and `alpha` of every target, except where `ranks` or `alphas` say otherwise for a name's end (which may
    be a regular expression, as in peft)."""

    targets: tuple[str, ...] = ("attention",)
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0  # on the input of A, while training
    rslora: bool = False
    dora: bool = False
    layers: tuple[int, ...] | None = None  # only these blocks
    ranks: Mapping[str, int] | None = None
    alphas: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for rank in (self.rank, *(self.ranks or {}).values()):
            if rank < 1:
                raise BadInput(f"rank is {rank}", hint="give 1 or more; 4 to 64 is usual", param="rank")
        if not 0 <= self.dropout < 1:
            raise BadInput(f"dropout is {self.dropout}", hint="give 0 to below 1", param="dropout")
        if self.dora and self.dropout:
            raise BadInput("dropout and dora do not go together", hint="leave one out", param="dropout")

    def of(self, name: str) -> tuple[int, float]:
        """Rank and scale of a target."""
        rank, alpha = _pattern(self.ranks, name, self.rank), _pattern(self.alphas, name, self.alpha)
        return rank, alpha / (math.sqrt(rank) if self.rslora else rank)


def _pattern(table: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    return next((value for end, value in (table or {}).items() if _ends(end, name)), default)


def _ends(end: str, name: str) -> bool:
    """Whether a name ends so, as peft reads its `rank_pattern`: the end is a regular expression."""
    try:
        return re.match(rf"(?:.*\.)?(?:{end})$", name) is not None
    except re.error as error:
        raise BadInput(f"{end!r} is no regular expression: {error}", hint="give a name's end, such as q_proj") from None


class Lora(Piece):
    """Low-rank updates of some parts of one layer. `a` [R, In] holds the A of all parts, so that q, k and v, or gate
    and up, share one product with x; `b[i]` [rows, r_i] is part i's own."""

    def __init__(
        self,
        layer: Linear,
        parts: Sequence[Rows],
        ranks: Sequence[int],
        scales: Sequence[float],
        dropout: float,
        kind: Any,
    ) -> None:
        super().__init__()
        self.parts, self.scales, self.dropout = tuple(parts), tuple(scales), dropout
        self.names = tuple(p.hf for p in parts)
        self.a = nn.Parameter(torch.empty(sum(ranks), layer.inputs, **kind))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(p.count, r, **kind)) for p, r in zip(parts, ranks))
        ends = [sum(ranks[: i + 1]) for i in range(len(ranks))]
        self.spans = tuple((end - r, end) for end, r in zip(ends, ranks))  # columns of x A^T
        self.lengths: nn.ParameterList | None = None  # DoRA

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        return tuple((p.begin, p.end) for p in self.parts)

    def begin(self, layer: Linear, streams: Streams | None, dora: bool) -> None:
        """First values: A uniform within 1/sqrt(In) (as peft), B zero, lengths those of the matrix."""
        with torch.no_grad():
            if streams is not None:
                first = torch.rand(self.a.shape, generator=streams.torch("a")) * 2 - 1
                self.a.copy_(first * self.a.shape[1] ** -0.5)
            if dora:
                weight = layer.dense().detach() if streams is not None else self.a.new_zeros(layer.outputs, 1)
                self.lengths = nn.ParameterList(
                    nn.Parameter(torch.linalg.vector_norm(weight[p.begin : p.end].to(self.a), dim=1))
                    for p in self.parts
                )

    def forward(self, x: Tensor, layer: Linear) -> Tensor:
        if self.lengths is None and torch.is_grad_enabled() and layer.is_frozen:
            return low_rank(x, self._dropped(x), layer, self)
        return super().forward(x, layer)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x

    def after(self, x: Tensor, y: Tensor, layer: Linear) -> Tensor:
        low = F.linear(self._dropped(x), self.a.to(x.dtype))
        recording = torch.is_grad_enabled()
        if self.lengths is not None or recording:
            return self._added(low, y, layer)
        for (begin, end), (i, j), b, scale in zip(self.bounds, self.spans, self.b, self.scales):
            y[:, begin:end].addmm_(low[:, i:j], b.to(x.dtype).t(), alpha=scale)
        return y

    def _added(self, low: Tensor, y: Tensor, layer: Linear) -> Tensor:
        """The same with gradients for everything, and with DoRA's lengths."""
        pieces, at = [], 0
        growth = self.growth(layer) if self.lengths is not None else [None] * len(self.parts)
        for (begin, end), (i, j), b, scale, grown in zip(self.bounds, self.spans, self.b, self.scales, growth):
            pieces.append(y[:, at:begin])
            own = y[:, begin:end]
            update = F.linear(low[:, i:j], b.to(low.dtype)) * scale
            if grown is None:
                pieces.append(own + update)
            else:
                bias = layer.bias[begin:end] if layer.bias is not None else None
                plain = own if bias is None else own - bias
                whole = (plain + update) * grown.to(low.dtype)
                pieces.append(whole if bias is None else whole + bias)
            at = end
        pieces.append(y[:, at:])
        return torch.cat([p for p in pieces if p.shape[1]], 1)

    def growth(self, layer: Linear) -> list[Tensor]:
        """DoRA: the learned length of each row over the row's own, which counts as a constant. [rows] a part."""
        assert self.lengths is not None
        weight = layer.dense().detach()
        found = []
        for p, (i, j), b, scale, length in zip(self.parts, self.spans, self.b, self.scales, self.lengths):
            with torch.no_grad():
                norm = torch.linalg.vector_norm(weight[p.begin : p.end].to(b) + scale * (b @ self.a[i:j]), dim=1)
            found.append(length / norm)
        return found

    def pieces(self) -> dict[str, Tensor]:
        found = {}
        for i, (p, (begin, end)) in enumerate(zip(self.parts, self.spans)):
            found[f"{p.hf}.lora_A.weight"] = self.a[begin:end]
            found[f"{p.hf}.lora_B.weight"] = self.b[i].data
            if self.lengths is not None:
                found[f"{p.hf}.lora_magnitude_vector"] = self.lengths[i].data
        return found


PLAIN = (True, False, None, "gaussian", "eva", "orthogonal", "mica")  # first values that leave the base as it is


def _all_mean(options: LoraConfig, names: Sequence[str]) -> None:
    for param, table in (("ranks", options.ranks), ("alphas", options.alphas)):
        for end in table or {}:
            if not any(_ends(end, name) for name in names):
                hint = did_you_mean(end, {name.rpartition(".")[2] for name in names})
                raise BadInput(f"{param} has {end!r}, and no target is called so", hint=hint, param=param)


class LoraMethod(Method):
    """Low-rank updates of matrices."""

    name = "lora"
    options = LoraConfig
    peft_type = "LORA"
    lr = 5e-4

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: LoraConfig = config.settings()
        adapter = Adapter(config)
        targets = resolve(model, options.targets, options.layers)
        if streams is not None:  # in a file a pattern may mean nothing, as in peft
            _all_mean(options, [p.hf for t in targets for p in t.parts])
        for target in targets:
            sizes = [options.of(p.hf) for p in target.parts]
            delta = Lora(
                target.layer, target.parts, [r for r, _ in sizes], [s for _, s in sizes], options.dropout, wide(model)
            )
            delta.begin(target.layer, streams.child(target.path) if streams else None, options.dora)
            adapter.deltas[target.path] = delta
        return adapter

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        options: LoraConfig = adapter.config.settings()
        return {
            "r": options.rank,
            "lora_alpha": options.alpha,
            "lora_dropout": options.dropout,
            "use_rslora": options.rslora,
            "use_dora": options.dora,
            "rank_pattern": dict(options.ranks or {}),
            "alpha_pattern": dict(options.alphas or {}),
            "layers_to_transform": None if options.layers is None else list(options.layers),
            "bias": "none",
            "fan_in_fan_out": any(p.conv1d for rule in model.rules() for p in rule.parts),
        }

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        refuse(found, "bias", "modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication")
        refuse(found, "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "kasa_config")
        refuse(found, "monteclora_config", "arrow_config")
        first = found.get("init_lora_weights")
        if first not in PLAIN:
            raise BadInput(
                f"the adapter belongs to a base that was changed first (init_lora_weights={first!r})",
                hint="peft's path_initial_model_for_weight_conversion saves it as a plain LoRA",
            )
        return {
            "targets": patterns_of(model, found),
            "rank": int(found.get("r", 8)),
            "alpha": float(found.get("lora_alpha", 8)),
            "dropout": 0.0 if found.get("use_dora") else float(found.get("lora_dropout") or 0.0),
            "rslora": bool(found.get("use_rslora", False)),
            "dora": bool(found.get("use_dora", False)),
            "layers": layers_of(found),
            "ranks": found.get("rank_pattern") or None,
            "alphas": found.get("alpha_pattern") or None,
        }

    def merge(self, model: Model, adapter: Adapter) -> int:
        with torch.no_grad():
            for path, delta in adapter.deltas.items():
                assert isinstance(delta, Lora)
                layer = model.get_submodule(path)
                assert isinstance(layer, Linear)
                growth = delta.growth(layer) if delta.lengths is not None else [None] * len(delta.parts)
                for p, (i, j), b, scale, grown in zip(delta.parts, delta.spans, delta.b, delta.scales, growth):
                    grow(layer, p.begin, p.end, scale * (b @ delta.a[i:j]), grown)
        return len(adapter.deltas)


methods.register("lora")(LoraMethod())
