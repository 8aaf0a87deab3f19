"""BERT (Devlin et al. 2018, arXiv:1810.04805) and its likes as encoders of text: MiniLM, BGE, E5, RoBERTa, XLM-R.

Both halves of a block are followed by their LayerNorm; every token sees every token. A sentence's vector is pooled
from the last layer as the model's sentence-transformers files say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.models.base import Encoder, embedding
from idiolect.models.gguf_config import Metadata
from idiolect.models.names import Part, Rule, numbered, one
from idiolect.models.pooling import pooling_of
from idiolect.nn import Batch, FeedForward, LayerNorm, Linear, attend

if TYPE_CHECKING:
    from idiolect.models.source import Opened


@dataclass(frozen=True, slots=True)
class BertConfig:
    vocab: int
    dim: int
    hidden: int
    layers: int
    heads: int
    positions: int  # rows of the position table
    first: int  # the row of position 0 (RoBERTa starts after its padding id)
    types: int
    eps: float
    activation: str

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> BertConfig:
        """Read config.json. Raises `BadInput` that names the key."""
        kind = str(raw.get("model_type", "bert"))
        if raw.get("position_embedding_type", "absolute") != "absolute" or raw.get("is_decoder"):
            raise BadInput("this bert has relative positions or is a decoder", hint="only plain encoders are supported")
        try:
            config = cls(
                vocab=int(raw["vocab_size"]),
                dim=int(raw.get("hidden_size", 768)),
                hidden=int(raw.get("intermediate_size", 3072)),
                layers=int(raw.get("num_hidden_layers", 12)),
                heads=int(raw.get("num_attention_heads", 12)),
                positions=int(raw.get("max_position_embeddings", 512)),
                first=0 if kind == "bert" else int(raw.get("pad_token_id", 1)) + 1,
                types=int(raw.get("type_vocab_size", 2)),
                eps=float(raw.get("layer_norm_eps", 1e-12)),
                activation=str(raw.get("hidden_act", "gelu")),
            )
        except KeyError as missing:
            raise BadInput(f"config.json has no {missing}", hint=f"a {kind} model needs it") from None
        except (TypeError, ValueError) as error:
            raise BadInput(f"config.json has a wrong value: {error}", hint=f"a {kind} model needs numbers") from None
        if config.dim % config.heads:
            raise BadInput(
                f"hidden_size {config.dim} is no multiple of num_attention_heads {config.heads}",
                hint="see the model's config.json",
            )
        return config


class Attention(nn.Module):
    """Two-way attention with q, k and v in one matrix. [N, D] -> [N, D]."""

    def __init__(self, c: BertConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = c.heads, layer
        self.qkv = Linear(c.dim, 3 * c.dim, bias=True)
        self.out = Linear(c.dim, c.dim, bias=True)

    def forward(self, x: Tensor, batch: Batch, backend: str) -> Tensor:
        q, k, v = self.qkv(x).view(x.shape[0], 3, self.heads, -1).unbind(1)
        return self.out(attend(q, k, v, batch, self.layer, causal=False, backend=backend).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, c: BertConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(c, layer)
        self.attention_norm = LayerNorm(c.dim, c.eps)
        self.mlp = FeedForward(c.dim, c.hidden, c.activation)
        self.mlp_norm = LayerNorm(c.dim, c.eps)

    def forward(self, x: Tensor, batch: Batch, backend: str) -> Tensor:
        x = self.attention_norm(x + self.attention(x, batch, backend))
        return self.mlp_norm(x + self.mlp(x))


class Bert(Encoder):
    """A BERT encoder; every token is of type 0."""

    model_types: ClassVar[tuple[str, ...]] = ("bert", "roberta", "xlm-roberta")
    gguf_architectures: ClassVar[tuple[str, ...]] = ("bert",)
    ignored: ClassVar[tuple[str, ...]] = (
        r"(\w+\.)?embeddings\.(position_ids|token_type_ids)",
        r"(\w+\.)?pooler\..*",
        r"(cls|classifier|lm_head)\..*",
    )

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.config = c = BertConfig.from_hf(raw)
        self.hf_prefix = {"bert": "bert."}.get(str(raw.get("model_type", "bert")), "roberta.")
        self.max_tokens = self.context
        self.embed = embedding(c.vocab, c.dim)
        self.positions = embedding(c.positions, c.dim)
        self.types = embedding(c.types, c.dim)
        self.embed_norm = LayerNorm(c.dim, c.eps)
        self.layers = nn.ModuleList(Block(c, i) for i in range(c.layers))

    def hidden(self, batch: Batch) -> Tensor:
        positions = self.positions(batch.pos + self.config.first if self.config.first else batch.pos)
        x = self.embed_norm(self.embed(batch.ids) + self.types.weight[0] + positions)
        for block in self.layers:
            x = block(x, batch, self.attention)
        return x

    @property
    def context(self) -> int:
        return self.config.positions - self.config.first

    @property
    def width(self) -> int:
        return self.config.dim

    def after_load(self, opened: Opened) -> None:
        self.pooling, self.normalize, limit = pooling_of(opened)
        self.max_tokens = min(limit or self.context, self.context)

    def rules(self) -> list[Rule]:
        qkv = {"q": "query", "k": "key", "v": "value"}
        names = [
            ("attention.out", "attention.output.dense", "attn_output"),
            ("attention_norm", "attention.output.LayerNorm", "attn_output_norm"),
            ("mlp.up", "intermediate.dense", "ffn_up"),
            ("mlp.down", "output.dense", "ffn_down"),
            ("mlp_norm", "output.LayerNorm", "layer_output_norm"),
        ]
        layer = []
        for kind in ("weight", "bias"):
            parts = tuple(
                Part(f"encoder.layer.{{i}}.attention.self.{word}.{kind}", f"blk.{{i}}.attn_{x}.{kind}", self.config.dim)
                for x, word in qkv.items()
            )
            layer.append(Rule(f"layers.{{i}}.attention.qkv.{kind}", parts))
            layer += [
                one(f"layers.{{i}}.{ours}.{kind}", f"encoder.layer.{{i}}.{hf}.{kind}", f"blk.{{i}}.{gguf}.{kind}")
                for ours, hf, gguf in names
            ]
        return [
            one("embed.weight", "embeddings.word_embeddings.weight", "token_embd.weight"),
            one("positions.weight", "embeddings.position_embeddings.weight", "position_embd.weight"),
            one("types.weight", "embeddings.token_type_embeddings.weight", "token_types.weight"),
            one("embed_norm.weight", "embeddings.LayerNorm.weight", "token_embd_norm.weight"),
            one("embed_norm.bias", "embeddings.LayerNorm.bias", "token_embd_norm.bias"),
            *(rule for i in range(self.config.layers) for rule in numbered(layer, i)),
        ]

    @classmethod
    def config_from_gguf(cls, fields: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        meta = Metadata(fields)
        return {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": tensors["token_embd.weight"][0],
            "hidden_size": meta.integer("embedding_length"),
            "intermediate_size": meta.integer("feed_forward_length"),
            "num_hidden_layers": meta.integer("block_count"),
            "num_attention_heads": meta.integer("attention.head_count"),
            "max_position_embeddings": tensors["position_embd.weight"][0],
            "type_vocab_size": tensors["token_types.weight"][0],
            "layer_norm_eps": meta.number("attention.layer_norm_epsilon"),
            "hidden_act": "gelu",
        }
