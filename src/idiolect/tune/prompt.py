"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691): learned embeddings before every sequence.

A virtual token is an id behind the vocabulary: V + i is row i of the adapter's own table. While training, the virtual
tokens are computed once per batch, as a segment that all others look back at (see nn.fronted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn import Batch, Contiguous
from idiolect.nn.fronted import Leading
from idiolect.tune.method import Adapter, Front, Method, Piece, methods, refuse
from idiolect.tune.virtual import VirtualConfig, decoder, stateless
from idiolect.tune.weights import wide

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


class SoftPrompt(Piece):
    """The table [P, D], in the slot of the embedding: ids from `vocabulary` on are its rows."""

    changes_input = True

    def __init__(self, vocabulary: int, tokens: int, dim: int, kind: Any) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table = nn.Parameter(torch.zeros(tokens, dim, **kind))

    def before(self, x: Tensor) -> Tensor:
        return x.clamp(max=self.vocabulary - 1)

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        virtual = x >= self.vocabulary
        rows = self.table.to(y.dtype)[(x - self.vocabulary).clamp(min=0)]
        return torch.where(virtual[:, None], rows, y)

    def pieces(self) -> dict[str, Tensor]:
        return {"prompt_embeddings": self.table.data}


class Leader(Front):
    """Puts the virtual tokens before a batch, and drops their rows behind it."""

    def __init__(self, vocabulary: int, tokens: int) -> None:
        super().__init__()
        self.vocabulary, self.tokens = vocabulary, tokens

    def hidden(self, run: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        stateless(batch)
        own = torch.arange(self.tokens, device=batch.ids.device)
        bounds = (0, *(b + self.tokens for b in batch.bounds))
        longer = replace(
            batch,
            ids=torch.cat((own + self.vocabulary, batch.ids)),
            pos=torch.cat((own, batch.pos + self.tokens)),
            cu=torch.tensor(bounds, dtype=torch.int32, device=batch.ids.device),
            bounds=bounds,
            front=Leading(self.tokens),
        )
        return run(longer)[self.tokens :]

    def stem(self, run: Callable[[Batch], Tensor], model: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        cache = Contiguous(model.state_specs(), capacity=self.tokens, dtype=model.dtype, device=model.device)
        run(cache.batch([list(range(self.vocabulary, self.vocabulary + self.tokens))]))
        return tuple(k[0] for k in cache.keys), tuple(v[0] for v in cache.values)

    def pieces(self) -> dict[str, Tensor]:
        return {}


class PromptMethod(Method):
    """Embeddings before every sequence."""

    name = "prompt"
    options = VirtualConfig
    peft_type = "PROMPT_TUNING"
    lr = 1e-2
    prefix = ""

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: VirtualConfig = config.settings()
        embed = getattr(decoder(model), "embed", None)
        if embed is None:
            raise BadInput(f"{model.id} has no embedding called `embed`", param="method")
        soft = SoftPrompt(embed.num_embeddings, options.tokens, embed.embedding_dim, wide(model))
        if streams is not None:
            with torch.no_grad():
                soft.table.copy_(embed.plain(torch.tensor(options.ids(model, streams), device=model.device)))
        return Adapter(config, {"embed": soft}, Leader(embed.num_embeddings, options.tokens))

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        soft = adapter.deltas["embed"]
        assert isinstance(soft, SoftPrompt)
        specs = decoder(model).state_specs()
        return {
            "num_virtual_tokens": soft.table.shape[0],
            "token_dim": soft.table.shape[1],
            "num_attention_heads": int(model.config.heads),
            "num_layers": len(specs),
            "num_transformer_submodules": 1,
            "prompt_tuning_init": "RANDOM",
        }

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        refuse(found, "modules_to_save")
        return {"tokens": int(found.get("num_virtual_tokens") or 0)}


methods.register("prompt")(PromptMethod())
