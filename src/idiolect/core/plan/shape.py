"""A model's shape, read from a plain config.json mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.names import nearest

LLAMAS = (  # decoders whose parameters are counted alike; a test compares each with the model itself
    *("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "phi3", "smollm3", "granite", "gemma"),
    "deepseek",  # the first one: from the second on attention is latent (MLA)
)
BERTS = ("bert", "roberta", "xlm-roberta")


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that counting needs. Widths are numbers of values; `norm_vectors` is 1 for RMSNorm (a scale), 2 for
    LayerNorm (a scale and a shift). Without experts `experts` is 0 and every layer is dense."""

    kind: str
    vocab: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    context: int
    gated: bool = True  # gate and up, against up alone
    tied: bool = False
    positions: int = 0  # rows of a learned table
    types: int = 0
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    norm_vectors: int = 1
    qk_norm: bool = False
    head: bool = True  # an unembedding (a language model)
    experts: int = 0
    active: int = 0  # experts that a token goes to
    expert_hidden: int = 0
    shared_hidden: int = 0  # width of experts that every token goes to
    dense_layers: int = 0  # layers without experts in a model that has them

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Read a config.json (Hugging Face's keys). Raises `BadInput` that names the key it needs."""
    kind = str(config.get("model_type", "llama"))
    value = {k: v for k, v in config.items() if v is not None}
    try:
        if kind == "gpt2":
            return _gpt2(kind, value)
        if kind in (*LLAMAS, *BERTS):
            return _bert(kind, value) if kind in BERTS else _llama(kind, value)
    except KeyError as missing:
        raise BadInput(f"the configuration has no {missing}", hint="a plan needs the model's config.json") from None
    except (TypeError, ValueError) as error:
        raise BadInput(f"the configuration has a wrong value: {error}", hint="see the model's config.json") from None
    close = nearest(kind, ("gpt2", *LLAMAS, *BERTS))
    raise BadInput(
        f"no plan is known for models of type {kind!r}",
        hint=f"did you mean {close!r}?" if close else "plan from a size alone (idiolect plan 7b)",
    )


def _gpt2(kind: str, c: Mapping[str, Any]) -> Shape:
    dim, heads = int(c["n_embd"]), int(c["n_head"])
    return Shape(
        kind=kind,
        vocab=int(c["vocab_size"]),
        dim=dim,
        layers=int(c["n_layer"]),
        heads=heads,
        kv_heads=heads,
        head_dim=dim // heads,
        hidden=int(c.get("n_inner") or 4 * dim),
        context=int(c.get("n_positions", 1024)),
        gated=False,
        tied=bool(c.get("tie_word_embeddings", True)),
        positions=int(c.get("n_positions", 1024)),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        norm_vectors=2,
    )


def _bert(kind: str, c: Mapping[str, Any]) -> Shape:
    dim, heads = int(c["hidden_size"]), int(c["num_attention_heads"])
    rows = int(c["max_position_embeddings"])
    return Shape(
        kind=kind,
        vocab=int(c["vocab_size"]),
        dim=dim,
        layers=int(c["num_hidden_layers"]),
        heads=heads,
        kv_heads=heads,
        head_dim=dim // heads,
        hidden=int(c["intermediate_size"]),
        context=rows,
        gated=False,
        positions=rows,
        types=int(c.get("type_vocab_size", 2)),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        norm_vectors=2,
        head=False,
    )


def _llama(kind: str, c: Mapping[str, Any]) -> Shape:
    dim, heads, layers = int(c["hidden_size"]), int(c["num_attention_heads"]), int(c["num_hidden_layers"])
    experts = int(c.get("num_local_experts", c.get("num_experts", c.get("n_routed_experts", 0))))
    width = int(c.get("moe_intermediate_size", c.get("intermediate_size", 0)))
    shared = int(c.get("shared_expert_intermediate_size", int(c.get("n_shared_experts", 0)) * width))
    bias = bool(c.get("attention_bias", False))
    return Shape(
        kind=kind,
        vocab=int(c["vocab_size"]),
        dim=dim,
        layers=layers,
        heads=heads,
        kv_heads=int(c.get("num_key_value_heads", heads)),
        head_dim=int(c.get("head_dim") or (128 if kind == "qwen3" else dim // heads)),
        hidden=int(c["intermediate_size"]),
        context=int(c.get("max_position_embeddings", 2048)),
        tied=bool(c.get("tie_word_embeddings", kind == "gemma")),
        qkv_bias=kind in ("qwen2", "qwen2_moe") or bias,
        out_bias=bias and kind != "qwen2",
        mlp_bias=bool(c.get("mlp_bias", False)),
        qk_norm=kind in ("qwen3", "qwen3_moe"),
        experts=experts,
        active=int(c.get("num_experts_per_tok", 0)) if experts else 0,
        expert_hidden=width if experts else 0,
        shared_hidden=shared if experts else 0,
        dense_layers=int(c.get("first_k_dense_replace", 0)) if experts else 0,
    )
