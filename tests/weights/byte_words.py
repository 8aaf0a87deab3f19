"""A byte-level tokenizer as the families publish theirs: 256 bytes, some merges, control tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.models.test_gguf import BYTES

_L, _N = r"\p{L}", r"\p{N}"
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MERGES = [("Ġ", "t"), ("h", "e"), ("i", "n"), ("Ġt", "he"), ("1", "2"), ("Ã", "©"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("e", "r")]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ADDED = ["<think>"]


def write_tokenizer(folder: Path, kind: str) -> None:
    """tokenizer.json and tokenizer_config.json in the published shape of "llama" (3), "qwen2"/"qwen3" or "gpt2"."""
    tokens = [*BYTES, *("".join(m) for m in MERGES)]
    first = len(tokens)
    level: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    if kind != "gpt2":
        pattern = _SPLIT % (_N if kind.startswith("qwen") else _N + "{1,3}")
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        level = {"type": "Sequence", "pretokenizers": [split, {**level, "use_regex": False}]}
    named = {"bos_token": CONTROL[0], "eos_token": CONTROL[2], "pad_token": CONTROL[0]}
    spec = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": first + i,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": text in CONTROL,
            }
            for i, text in enumerate([*CONTROL, *ADDED])
        ],
        "normalizer": {"type": "NFC"} if kind.startswith("qwen") else None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": [" ".join(m) for m in MERGES],
            "ignore_merges": kind not in ("gpt2", "qwen2", "qwen3"),
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False))
    config = {**named, "add_bos_token": kind == "llama", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
