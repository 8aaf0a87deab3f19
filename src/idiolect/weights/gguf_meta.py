"""What a GGUF file says of a model beside its tensors: the way back from each family's `config_from_gguf`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.models.base import Model
from idiolect.models.bert import Bert
from idiolect.models.gpt2 import GPT2
from idiolect.models.llama import Llama
from idiolect.nn.rope import inverse_frequencies, llama3

KNOWN = "llama, mistral, qwen2, qwen3, gpt2 and bert can be written to GGUF"


def metadata(model: Model) -> tuple[str, dict[str, Any], dict[str, Tensor], list[str]]:
    """(architecture, fields without its prefix, further tensors, notes). Raises `BadInput` for what GGUF's readers
    would compute in another way."""
    if isinstance(model, Llama):
        return _llama(model)
    if isinstance(model, GPT2):
        return _gpt2(model)
    if isinstance(model, Bert) and model.config.first == 0:  # RoBERTa's tokenizer and positions are of another kind
        return _bert(model)
    raise BadInput(f"{model.raw.get('model_type')} models cannot be written to GGUF", hint=KNOWN)


def _llama(model: Llama) -> tuple[str, dict[str, Any], dict[str, Tensor], list[str]]:
    c, kind, notes = model.config, str(model.raw.get("model_type")), []
    if c.activation not in ("silu", "swish"):
        raise BadInput(f"GGUF's {kind} has no activation {c.activation!r}", hint="export to a Hugging Face directory")
    context = c.context
    narrow = [w for w in c.windows if w is not None and w < context]
    if narrow:
        context = min(narrow)
        notes.append(f"a sliding window of {context}: the context is cut to it, within which it changes nothing")
    fields: dict[str, Any] = {
        "vocab_size": c.vocab,
        "context_length": context,
        "embedding_length": c.dim,
        "block_count": c.layers,
        "feed_forward_length": c.hidden,
        "attention.head_count": c.heads,
        "attention.head_count_kv": c.kv_heads,
        "attention.key_length": c.head_dim,
        "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.eps,
        "rope.dimension_count": c.head_dim,
        "rope.freq_base": c.theta,
    }
    scaling = c.scaling or {}
    rope = str(scaling.get("rope_type", scaling.get("type", "default")))
    more: dict[str, Tensor] = {}
    if rope in ("linear", "yarn"):
        if scaling.get("mscale") or scaling.get("attention_factor") or {"beta_fast", "beta_slow"} & set(scaling):
            raise BadInput(f"this {rope} rope scaling has values that GGUF's {kind} does not read", hint=_OTHER)
        fields |= {"rope.scaling.type": rope, "rope.scaling.factor": float(scaling["factor"])}
        if "original_max_position_embeddings" in scaling:
            fields["rope.scaling.original_context_length"] = int(scaling["original_max_position_embeddings"])
        elif rope == "yarn":
            fields["rope.scaling.original_context_length"] = c.context
    elif rope == "llama3":
        plain = inverse_frequencies(c.head_dim, c.theta)
        more["rope_freqs.weight"] = (plain / llama3(plain, scaling)).float()
    elif rope != "default":
        raise BadInput(f"GGUF's {kind} has no rope scaling {rope!r}", hint=_OTHER)
    return "llama" if kind == "mistral" else kind, fields, more, notes


_OTHER = "export to a Hugging Face directory"


def _gpt2(model: GPT2) -> tuple[str, dict[str, Any], dict[str, Tensor], list[str]]:
    c = model.config
    if c.by_layer or not c.scaled or c.activation not in ("gelu_new", "gelu_pytorch_tanh"):
        raise BadInput("GGUF's gpt2 has plain scaled attention and the tanh GELU only", hint=_OTHER)
    fields = {
        "vocab_size": c.vocab,
        "context_length": c.context,
        "embedding_length": c.dim,
        "block_count": c.layers,
        "feed_forward_length": c.hidden,
        "attention.head_count": c.heads,
        "attention.layer_norm_epsilon": c.eps,
    }
    return "gpt2", fields, {}, []


def _bert(model: Bert) -> tuple[str, dict[str, Any], dict[str, Tensor], list[str]]:
    c = model.config
    if c.activation != "gelu":
        raise BadInput(f"GGUF's bert has no activation {c.activation!r}", hint=_OTHER)
    fields = {
        "vocab_size": c.vocab,
        "context_length": c.positions,
        "embedding_length": c.dim,
        "block_count": c.layers,
        "feed_forward_length": c.hidden,
        "attention.head_count": c.heads,
        "attention.layer_norm_epsilon": c.eps,
        "attention.causal": False,
        "pooling_type": {"mean": 1, "cls": 2}[model.pooling],
    }
    notes = [] if model.normalize else ["GGUF cannot say that vectors keep their length: readers normalise them"]
    if model.max_tokens < c.positions:
        notes.append(f"GGUF cannot say that texts end at {model.max_tokens} tokens: readers take {c.positions}")
    return "bert", fields, {}, notes


def one_dtype(value: Tensor) -> Tensor:
    """float32 on the CPU, contiguous: what every writer below starts from."""
    return value.detach().to("cpu", torch.float32).contiguous()
