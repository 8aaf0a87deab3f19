"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each half, plain attention, GELU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.models.base import CausalModel, embedding, paged, with_front
from idiolect.models.gguf_config import Metadata
from idiolect.models.names import Rule, numbered, one
from idiolect.nn import Batch, FeedForward, LayerNorm, Linear, StateSpec, attend


@dataclass(frozen=True, slots=True)
class GPT2Config:
    vocab: int
    dim: int
    hidden: int
    layers: int
    heads: int
    context: int
    eps: float
    activation: str
    scaled: bool  # scores times 1/sqrt(head width)
    by_layer: bool  # scores of layer i divided by i + 1
    tied: bool

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> GPT2Config:
        """Read config.json. Raises `BadInput` that names the key."""
        try:
            dim = int(raw.get("n_embd", 768))
            config = cls(
                vocab=int(raw["vocab_size"]),
                dim=dim,
                hidden=int(raw.get("n_inner") or 4 * dim),
                layers=int(raw.get("n_layer", 12)),
                heads=int(raw.get("n_head", 12)),
                context=int(raw.get("n_positions", 1024)),
                eps=float(raw.get("layer_norm_epsilon", 1e-5)),
                activation=str(raw.get("activation_function", "gelu_new")),
                scaled=bool(raw.get("scale_attn_weights", True)),
                by_layer=bool(raw.get("scale_attn_by_inverse_layer_idx", False)),
                tied=bool(raw.get("tie_word_embeddings", True)),
            )
        except KeyError as missing:
            raise BadInput(f"config.json has no {missing}", hint="a gpt2 model needs it") from None
        except (TypeError, ValueError) as error:
            raise BadInput(f"config.json has a wrong value: {error}", hint="a gpt2 model needs numbers") from None
        if config.dim % config.heads:
            raise BadInput(f"n_embd {dim} is no multiple of n_head {config.heads}", hint="see the model's config.json")
        return config


class Attention(nn.Module):
    """Multi-head attention with q, k and v in one matrix. [N, D] -> [N, D]."""

    def __init__(self, c: GPT2Config, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = c.heads, layer
        self.scale = ((c.dim // c.heads) ** -0.5 if c.scaled else 1.0) / (layer + 1 if c.by_layer else 1)
        self.qkv = Linear(c.dim, 3 * c.dim, bias=True)
        self.out = Linear(c.dim, c.dim, bias=True)
        self.fused: Callable[[Any, Tensor], tuple[Tensor, Tensor, Tensor]] | None = None  # q, k, v while a GPU trains

    def forward(self, x: Tensor, batch: Batch, backend: str) -> Tensor:
        if self.fused is not None and torch.is_grad_enabled():
            q, k, v = self.fused(self, x)
        else:
            q, k, v = self.qkv(x).view(x.shape[0], 3, self.heads, -1).unbind(1)
        mixed = attend(q, k, v, batch, self.layer, scale=self.scale, backend=backend)
        return self.out(mixed.reshape(x.shape[0], -1))


class Block(nn.Module):
    def __init__(self, c: GPT2Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(c.dim, c.eps)
        self.attention = Attention(c, layer)
        self.mlp_norm = LayerNorm(c.dim, c.eps)
        self.mlp = FeedForward(c.dim, c.hidden, c.activation)

    def forward(self, x: Tensor, batch: Batch, backend: str) -> Tensor:
        x = x + self.attention(self.attention_norm(x), batch, backend)
        return x + self.mlp(self.mlp_norm(x))


class GPT2(CausalModel):
    """A GPT-2 decoder."""

    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)
    gguf_architectures: ClassVar[tuple[str, ...]] = ("gpt2",)
    hf_prefix: str = "transformer."
    ignored: ClassVar[tuple[str, ...]] = (r".*\.attn\.(masked_)?bias",)

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.config = c = GPT2Config.from_hf(raw)
        self.embed = embedding(c.vocab, c.dim)
        self.positions = embedding(c.context, c.dim)
        self.layers = nn.ModuleList(Block(c, i) for i in range(c.layers))
        self.norm = LayerNorm(c.dim, c.eps)
        self.head = Linear(c.dim, c.vocab)
        if c.tied:
            self.head.tie(self.embed)

    @with_front
    def hidden(self, batch: Batch) -> Tensor:
        x = self.embed(batch.ids) + self.positions(batch.pos)
        for block in self.layers:
            x = block(x, batch, self.attention)
        return self.norm(x)

    def logits(self, h: Tensor) -> Tensor:
        return self.head(h)

    def state_specs(self) -> list[StateSpec]:
        return paged(self.config.layers, self.config.heads, self.config.dim // self.config.heads)

    @property
    def context(self) -> int:
        return self.config.context

    def rules(self) -> list[Rule]:
        names = [  # ours, Hugging Face's, GGUF's, and whether it is a Conv1D there
            ("attention_norm", "ln_1", "attn_norm", False),
            ("attention.qkv", "attn.c_attn", "attn_qkv", True),
            ("attention.out", "attn.c_proj", "attn_output", True),
            ("mlp_norm", "ln_2", "ffn_norm", False),
            ("mlp.up", "mlp.c_fc", "ffn_up", True),
            ("mlp.down", "mlp.c_proj", "ffn_down", True),
        ]
        layer = [
            one(
                f"layers.{{i}}.{ours}.{kind}",
                f"transformer.h.{{i}}.{hf}.{kind}",
                f"blk.{{i}}.{gguf}.{kind}",
                conv1d=conv and kind == "weight",
            )
            for ours, hf, gguf, conv in names
            for kind in ("weight", "bias")
        ]
        rules = [
            one("embed.weight", "transformer.wte.weight", "token_embd.weight"),
            one("positions.weight", "transformer.wpe.weight", "position_embd.weight"),
            one("norm.weight", "transformer.ln_f.weight", "output_norm.weight"),
            one("norm.bias", "transformer.ln_f.bias", "output_norm.bias"),
        ]
        if not self.config.tied:
            rules.append(one("head.weight", "lm_head.weight", "output.weight"))
        return rules + [rule for i in range(self.config.layers) for rule in numbered(layer, i)]

    @classmethod
    def config_from_gguf(cls, fields: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        meta = Metadata(fields)
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": tensors["token_embd.weight"][0],
            "n_embd": meta.integer("embedding_length"),
            "n_inner": meta.integer("feed_forward_length"),
            "n_layer": meta.integer("block_count"),
            "n_head": meta.integer("attention.head_count"),
            "n_positions": tensors["position_embd.weight"][0],
            "layer_norm_epsilon": meta.number("attention.layer_norm_epsilon"),
            "activation_function": "gelu_new",
            "tie_word_embeddings": "output.weight" not in tensors,
            "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
            "eos_token_id": fields.get("tokenizer.ggml.eos_token_id"),
        }
