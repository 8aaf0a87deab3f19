"""Small networks with random weights, made by transformers, in folders as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCAB = 96

LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
}
WIDE = {"head_dim": 24, "num_key_value_heads": 1}

# name -> (transformers' model_type, changes to its small configuration)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied-mha": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama-bias-wide": ("llama", {"attention_bias": True, "mlp_bias": True, **WIDE}),
    "llama-linear": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 3.0}}),
    "llama-dynamic": (
        "llama",
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 16},
    ),
    "llama-yarn": (
        "llama",
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    ),
    "llama-yarn-mscale": (
        "llama",
        {
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "beta_fast": 8,
                "beta_slow": 2,
                "mscale": 0.7,
                "mscale_all_dim": 1.2,
            }
        },
    ),
    "llama-llama3": (
        "llama",
        {
            "head_dim": 16,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "mistral-window": ("mistral", {"sliding_window": 7}),
    "mistral-full": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gpt2": ("gpt2", {}),
    "gpt2-scaled": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "n_inner": 40, "tie_word_embeddings": False}),
    "bert": ("bert", {}),
    "bert-relu": ("bert", {"hidden_act": "relu", "num_attention_heads": 8, "type_vocab_size": 1}),
    "roberta": ("roberta", {"pad_token_id": 1, "type_vocab_size": 1}),
}
CAUSAL = [name for name, (kind, _) in VARIANTS.items() if kind not in ("bert", "roberta")]


def make(name: str, folder: Path, **options: Any) -> Any:
    """A transformers model of a variant, saved into `folder` with a tokenizer. Returns it, in eval mode."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    kind, changes = VARIANTS[name]
    base = {"gpt2": GPT2, "bert": BERT, "roberta": BERT}.get(kind, LLAMA)
    config = AutoConfig.for_model(kind, **{**base, **changes})
    torch.manual_seed(7)
    model = (AutoModelForCausalLM if name in CAUSAL else AutoModel).from_config(config, attn_implementation="eager")
    for parameter in model.parameters():  # large enough that a wrong bias or scale shows
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    model.eval().save_pretrained(folder, **options)
    write_tokenizer(folder)
    return model


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json of VOCAB words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
