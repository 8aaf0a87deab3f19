"""Prefix tuning (Li and Liang 2021, arXiv:2101.00190): learned keys and values before every sequence, in every layer.

Real tokens count their positions from behind the prefix, as in peft. The keys are used as they are, without rotation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idiolect.core.rng import Streams
from idiolect.models.base import CausalModel, Model
from idiolect.nn import Batch, Contiguous
from idiolect.nn.fronted import Given
from idiolect.tune.method import Adapter, Front, Method, methods, refuse
from idiolect.tune.virtual import VirtualConfig, decoder, stateless
from idiolect.tune.weights import wide

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


class Prefix(Front):
    """`table` [P, L * 2 * Hkv * Dh]: each layer's keys, then its values, as peft lays them out."""

    def __init__(self, model: CausalModel, tokens: int) -> None:
        super().__init__()
        specs = model.state_specs()
        self.tokens, self.layers = tokens, len(specs)
        self.kv_heads, self.head_dim = specs[0].kv_heads, specs[0].head_dim
        self.table = nn.Parameter(torch.zeros(tokens, self.layers * 2 * self.kv_heads * self.head_dim, **wide(model)))

    def given(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Keys and values [P, Hkv, Dh] of each layer."""
        rows = self.table.view(self.tokens, 2 * self.layers, self.kv_heads, self.head_dim).unbind(1)
        return rows[::2], rows[1::2]

    def begin(self, model: CausalModel, ids: list[int]) -> None:
        """What the model itself computes for some real tokens: then the prefix is exactly their context."""
        cache = Contiguous(model.state_specs(), capacity=len(ids), dtype=model.dtype, device=model.device)
        with torch.no_grad():
            model.hidden(cache.batch([ids]))
            keys, values = torch.cat(cache.keys), torch.cat(cache.values)  # [L, Hkv, P, Dh]
            both = torch.stack((keys, values), 1)
            self.table.copy_(both.permute(3, 0, 1, 2, 4).reshape(self.table.shape))

    def hidden(self, run: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        stateless(batch)
        return run(replace(batch, pos=batch.pos + self.tokens, front=Given(*self.given())))

    def stem(self, run: Callable[[Batch], Tensor], model: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        keys, values = self.given()
        return tuple(k.transpose(0, 1) for k in keys), tuple(v.transpose(0, 1) for v in values)

    def pieces(self) -> dict[str, Tensor]:
        return {"prompt_embeddings": self.table.data}


class PrefixMethod(Method):
    """Keys and values before every sequence, in every layer."""

    name = "prefix"
    options = VirtualConfig
    peft_type = "PREFIX_TUNING"
    lr = 1e-2
    prefix = ""

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: VirtualConfig = config.settings()
        front = Prefix(decoder(model), options.tokens)
        if streams is not None:
            front.begin(decoder(model), options.ids(model, streams))
        return Adapter(config, front=front)

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        front = adapter.front
        assert isinstance(front, Prefix)
        return {
            "num_virtual_tokens": front.tokens,
            "token_dim": front.kv_heads * front.head_dim,
            "num_attention_heads": front.kv_heads,
            "num_layers": front.layers,
            "num_transformer_submodules": 1,
            "encoder_hidden_size": front.kv_heads * front.head_dim,
            "prefix_projection": False,
        }

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        refuse(found, "modules_to_save")
        return {"tokens": int(found.get("num_virtual_tokens") or 0)}


methods.register("prefix")(PrefixMethod())
