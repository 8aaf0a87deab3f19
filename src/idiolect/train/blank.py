"""A model from nothing but a description: random weights as good practice has them.

Matrices are normal with standard deviation 0.02; those that write into the residual stream are divided by the root of
twice the number of layers (Radford et al. 2019), so that depth does not grow the sum. Each parameter draws from a
stream of its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import CausalModel
from idiolect.models.families import family_of
from idiolect.text.hf import HFTokenizer
from idiolect.train.vocabulary import TokenizerConfig

STD = 0.02
RESIDUAL = ("attention.out.weight", "mlp.down.weight")
MULTIPLE = 32  # a SwiGLU's hidden width is rounded up to one


@dataclass(frozen=True, slots=True)
class BlankConfig:
    """`width` D, `heads` of width D/heads, `kv_heads` (llama; None: as many), `hidden` the feed-forward's width (None:
    4 D for gpt2, 8/3 D for llama). `tied`: the head is the embedding. `more` are further keys of config.json."""

    family: Literal["gpt2", "llama"] = "llama"
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 256
    kv_heads: int | None = None
    hidden: int | None = None
    tied: bool = True
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.width, self.context) < 1:
            raise BadInput("layers, heads, width and context must be at least 1")
        if self.width % self.heads:
            raise BadInput(f"width {self.width} is no multiple of heads {self.heads}", hint="change one of them")


def raw(config: BlankConfig, vocab: int, tokenizer: HFTokenizer | None = None) -> dict[str, Any]:
    """The config.json of a blank model."""
    ends = list(tokenizer.eos_ids) if tokenizer is not None else []
    words = {"vocab_size": vocab, "bos_token_id": None, "eos_token_id": ends[0] if ends else None}
    if config.family == "gpt2":
        found: dict[str, Any] = {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_embd": config.width,
            "n_inner": config.hidden,
            "n_positions": config.context,
            "activation_function": "gelu_new",
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        }
    else:
        hidden = config.hidden or -(-8 * config.width // 3 // MULTIPLE) * MULTIPLE
        found = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads or config.heads,
            "hidden_size": config.width,
            "intermediate_size": hidden,
            "max_position_embeddings": config.context,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
        }
    return {**found, **words, "tie_word_embeddings": config.tied, "initializer_range": STD, **config.more}


def blank(config: BlankConfig, tokenizer: HFTokenizer, seed: int = 0, name: str = "blank") -> CausalModel:
    """The model, in float32, with its tokenizer."""
    described = raw(config, len(tokenizer), tokenizer)
    model = family_of(described)(described)
    assert isinstance(model, CausalModel)
    initialise(model, config.layers, seed)
    model.tokenizer, model.id = tokenizer, name
    return model


@torch.no_grad()
def initialise(model: CausalModel, layers: int, seed: int) -> None:
    """Fill every parameter (see above); biases 0, norms 1."""
    streams = Streams(seed, ("init",))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            std = STD / (2 * layers) ** 0.5 if name.endswith(RESIDUAL) else STD
            parameter.normal_(0.0, std, generator=streams.torch(name))
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
