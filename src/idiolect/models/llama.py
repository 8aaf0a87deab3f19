"""The llama family: Llama (Touvron et al. 2023, arXiv:2302.13971), SmolLM2, Mistral, Qwen2 and Qwen3.

One decoder: RMSNorm before each half, rotary positions, grouped-query attention, SwiGLU. The members differ in
configuration only: biases on q, k and v (Qwen2), norms on q and k (Qwen3), a sliding window (Mistral, Qwen2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.models.base import CausalModel, embedding, paged, with_front
from idiolect.models.gguf_config import Metadata, rope_scaling_from_gguf
from idiolect.models.names import Part, Rule, numbered, one
from idiolect.nn import Batch, GatedFeedForward, Linear, RMSNorm, Rope, StateSpec, attend, rotate
from idiolect.nn.rope import Angles

DEFAULTS: dict[str, dict[str, Any]] = {  # what transformers assumes for a key that config.json leaves out
    "llama": {"max_position_embeddings": 2048, "rope_theta": 10000.0},
    "mistral": {"max_position_embeddings": 131072, "rope_theta": 10000.0, "sliding_window": 4096},
    "qwen2": {"max_position_embeddings": 32768, "rope_theta": 10000.0},
    "qwen3": {"max_position_embeddings": 32768, "rope_theta": 10000.0, "head_dim": 128},
}


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """What the family needs to know; `from_hf` reads it from config.json."""

    vocab: int
    dim: int
    hidden: int  # width of the feed-forward
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    eps: float
    activation: str
    theta: float
    scaling: Mapping[str, Any] | None
    tied: bool
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]  # per layer

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> LlamaConfig:
        """Read config.json. Raises `BadInput` that names the key."""
        kind = str(raw.get("model_type", "llama"))
        values = {**DEFAULTS.get(kind, DEFAULTS["llama"]), **{k: v for k, v in raw.items() if v is not None}}
        if kind == "mistral" and "sliding_window" in raw:
            values["sliding_window"] = raw["sliding_window"]  # null means no window
        try:
            dim, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
            layers = int(values["num_hidden_layers"])
            rope = values.get("rope_parameters") or values.get("rope_scaling") or None
            config = cls(
                vocab=int(values["vocab_size"]),
                dim=dim,
                hidden=int(values["intermediate_size"]),
                layers=layers,
                heads=heads,
                kv_heads=int(values.get("num_key_value_heads", heads)),
                head_dim=int(values.get("head_dim") or dim // heads),
                context=int(values["max_position_embeddings"]),
                eps=float(values.get("rms_norm_eps", 1e-6)),
                activation=str(values.get("hidden_act", "silu")),
                theta=float((rope or {}).get("rope_theta") or values["rope_theta"]),
                scaling=rope,
                tied=bool(values.get("tie_word_embeddings", False)),
                qkv_bias=kind == "qwen2" or bool(values.get("attention_bias", False)),
                out_bias=kind != "qwen2" and bool(values.get("attention_bias", False)),
                mlp_bias=bool(values.get("mlp_bias", False)),
                qk_norm=kind == "qwen3",
                windows=windows(kind, values, layers),
            )
        except KeyError as missing:
            raise BadInput(f"config.json has no {missing}", hint=f"a {kind} model needs it") from None
        except (TypeError, ValueError) as error:
            raise BadInput(f"config.json has a wrong value: {error}", hint=f"a {kind} model needs numbers") from None
        if config.kv_heads < 1 or heads % config.kv_heads or config.head_dim % 2:
            raise BadInput(
                f"{heads} attention heads of width {config.head_dim} do not fit {config.kv_heads} key heads",
                hint="num_attention_heads must be a multiple of num_key_value_heads, and head_dim even",
            )
        return config


def windows(kind: str, values: Mapping[str, Any], layers: int) -> tuple[int | None, ...]:
    """The sliding window of each layer, None for full attention."""
    size = values.get("sliding_window")
    if size is None or (kind != "mistral" and not values.get("use_sliding_window", False)):
        return (None,) * layers
    kinds = values.get("layer_types")
    if kinds is None:
        first = 0 if kind == "mistral" else int(values.get("max_window_layers", 28))
        kinds = ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    return tuple(int(size) if t == "sliding_attention" else None for t in kinds)


class Attention(nn.Module):
    """Grouped-query attention with q, k and v in one matrix. [N, D] -> [N, D]."""

    def __init__(self, c: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, c.head_dim
        self.layer, self.window = layer, c.windows[layer]
        self.qkv = Linear(c.dim, (c.heads + 2 * c.kv_heads) * c.head_dim, c.qkv_bias)
        self.out = Linear(c.heads * c.head_dim, c.dim, c.out_bias)
        self.q_norm = RMSNorm(c.head_dim, c.eps) if c.qk_norm else None
        self.k_norm = RMSNorm(c.head_dim, c.eps) if c.qk_norm else None

    def forward(self, x: Tensor, batch: Batch, angles: Angles, backend: str) -> Tensor:
        n, both = x.shape[0], self.heads + self.kv_heads
        qkv = self.qkv(x).view(n, both + self.kv_heads, self.head_dim)
        qk, v = qkv.split((both, self.kv_heads), 1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.split((self.heads, self.kv_heads), 1)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), 1)
        q, k = rotate(qk, angles).split((self.heads, self.kv_heads), 1)
        mixed = attend(q, k, v, batch, self.layer, window=self.window, backend=backend)
        return self.out(mixed.reshape(n, -1))


class Block(nn.Module):
    def __init__(self, c: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(c.dim, c.eps)
        self.attention = Attention(c, layer)
        self.mlp_norm = RMSNorm(c.dim, c.eps)
        self.mlp = GatedFeedForward(c.dim, c.hidden, c.activation, c.mlp_bias)

    def forward(self, x: Tensor, batch: Batch, angles: Angles, backend: str) -> Tensor:
        x = x + self.attention(self.attention_norm(x), batch, angles, backend)
        return x + self.mlp(self.mlp_norm(x))


class Llama(CausalModel):
    """A decoder of the llama family."""

    model_types: ClassVar[tuple[str, ...]] = ("llama", "mistral", "qwen2", "qwen3")
    gguf_architectures: ClassVar[tuple[str, ...]] = ("llama", "qwen2", "qwen3", "mistral")
    hf_prefix: str = "model."
    ignored: ClassVar[tuple[str, ...]] = (r".*rotary_emb\.inv_freq", r"rope_freqs\.weight")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.config = c = LlamaConfig.from_hf(raw)
        self.embed = embedding(c.vocab, c.dim)
        self.layers = nn.ModuleList(Block(c, i) for i in range(c.layers))
        self.norm = RMSNorm(c.dim, c.eps)
        self.head = Linear(c.dim, c.vocab)
        if c.tied:
            self.head.tie(self.embed)
        with torch.device("cpu"):
            self.rope = Rope(c.head_dim, c.theta, c.scaling, c.context)

    @with_front
    def hidden(self, batch: Batch) -> Tensor:
        x = self.embed(batch.ids)
        angles = self.rope.angles(batch, x.dtype)
        for block in self.layers:
            x = block(x, batch, angles, self.attention)
        return self.norm(x)

    def logits(self, h: Tensor) -> Tensor:
        return self.head(h)

    def state_specs(self) -> list[StateSpec]:
        return paged(self.config.layers, self.config.kv_heads, self.config.head_dim)

    @property
    def context(self) -> int:
        return self.config.context

    def rules(self) -> list[Rule]:
        c = self.config
        widths = {"q": c.heads, "k": c.kv_heads, "v": c.kv_heads}

        def fused(kind: str) -> Rule:
            parts = [
                Part(
                    f"model.layers.{{i}}.self_attn.{x}_proj.{kind}",
                    f"blk.{{i}}.attn_{x}.{kind}",
                    n * c.head_dim,
                    rope_heads=0 if x == "v" else n,
                )
                for x, n in widths.items()
            ]
            return Rule(f"layers.{{i}}.attention.qkv.{kind}", tuple(parts))

        def gated(kind: str) -> Rule:
            return Rule(
                f"layers.{{i}}.mlp.gate_up.{kind}",
                tuple(
                    Part(f"model.layers.{{i}}.mlp.{x}_proj.{kind}", f"blk.{{i}}.ffn_{x}.{kind}", c.hidden)
                    for x in ("gate", "up")
                ),
            )

        block, hf = "layers.{i}.", "model.layers.{i}."
        layer = [
            one(f"{block}attention_norm.weight", f"{hf}input_layernorm.weight", "blk.{i}.attn_norm.weight"),
            fused("weight"),
            one(f"{block}attention.out.weight", f"{hf}self_attn.o_proj.weight", "blk.{i}.attn_output.weight"),
            one(f"{block}mlp_norm.weight", f"{hf}post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight"),
            gated("weight"),
            one(f"{block}mlp.down.weight", f"{hf}mlp.down_proj.weight", "blk.{i}.ffn_down.weight"),
        ]
        if c.qkv_bias:
            layer.append(fused("bias"))
        if c.out_bias:
            layer.append(one(f"{block}attention.out.bias", f"{hf}self_attn.o_proj.bias", "blk.{i}.attn_output.bias"))
        if c.mlp_bias:
            layer += [
                gated("bias"),
                one(f"{block}mlp.down.bias", f"{hf}mlp.down_proj.bias", "blk.{i}.ffn_down.bias"),
            ]
        if c.qk_norm:
            layer += [
                one(
                    f"{block}attention.{x}_norm.weight",
                    f"{hf}self_attn.{x}_norm.weight",
                    f"blk.{{i}}.attn_{x}_norm.weight",
                )
                for x in "qk"
            ]
        rules = [
            one("embed.weight", "model.embed_tokens.weight", "token_embd.weight"),
            one("norm.weight", "model.norm.weight", "output_norm.weight"),
        ]
        if not c.tied:
            rules.append(one("head.weight", "lm_head.weight", "output.weight"))
        return rules + [rule for i in range(c.layers) for rule in numbered(layer, i)]

    @classmethod
    def config_from_gguf(cls, fields: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        meta = Metadata(fields)
        kind = "llama" if meta.architecture == "mistral" else meta.architecture
        heads, dim = meta.integer("attention.head_count"), meta.integer("embedding_length")
        config: dict[str, Any] = {
            "architectures": [
                {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[kind]
            ],
            "model_type": kind,
            "vocab_size": tensors["token_embd.weight"][0],
            "hidden_size": dim,
            "intermediate_size": meta.integer("feed_forward_length"),
            "num_hidden_layers": meta.integer("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": meta.integer("attention.head_count_kv", heads),
            "head_dim": meta.integer("attention.key_length", dim // heads),
            "hidden_act": "silu",
            "max_position_embeddings": meta.integer("context_length"),
            "rms_norm_eps": meta.number("attention.layer_norm_rms_epsilon"),
            "rope_theta": meta.number("rope.freq_base", 10000.0),
            "tie_word_embeddings": "output.weight" not in tensors,
            "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
            "eos_token_id": fields.get("tokenizer.ggml.eos_token_id"),
        }
        scaling = rope_scaling_from_gguf(meta)
        if scaling is not None:
            config["rope_scaling"] = scaling
        if kind == "llama":
            config["attention_bias"] = "blk.0.attn_q.bias" in tensors
            config["mlp_bias"] = "blk.0.ffn_gate.bias" in tensors
        return config
