"""Small real tokenizers, trained in the test, with the control tokens of the published ones."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers as tk
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

TEMPLATES = Path(__file__).parent / "templates"
CONTROL = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama2": ["<unk>", "<s>", "</s>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": [
        *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ],
    "gemma": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
    "phi3": ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
}
PLAIN = {"chatml": ["<tool_call>", "</tool_call>", "<think>", "</think>"]}  # added, but not special
NAMED = {
    "chatml": {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    "llama2": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "phi3": {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"},
}
FAMILY = {"chatml_generation": "chatml", "qwen2": "chatml", "qwen3": "chatml"}  # by template
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def corpus() -> list[str]:
    """Words, code and several scripts; enough for a few hundred merges."""
    base = [
        "The quick brown fox jumps over the lazy dog. It wasn't there; it's here, they'll say we've gone.",
        "system user assistant model tool function name arguments parameters content im_start im_end INST SYS eot_id",
        "def f(x: int) -> int:\n    return x + 1\n\n\tif x:\n        pass\n\nfor (int i = 0; i < 9; ++i) { a[i] = b; }",
        "Größe, naïve café, señor, Ελληνικά και άλλα, русский текст и слова, עברית, العربية، हिन्दी में लिखा",
        "日本語のテキストです。中文文本也在这里。한국어 문장입니다。",
        "1 12 123 1234 3.14159 1,000,000 2024-01-31 $5.00 50% #1 a@b.c https://example.com/path?q=1&r=2",
        '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}, "type": "function"}',
        "  two  spaces   three    four\n\n\nlines\r\n\r\nwindows\ttab",
        "😀 👍🏽 👩‍👩‍👧 🇫🇷 ✅ → ≤ “quotes” ‘single’ — dash …",
    ]
    return base * 20


def _byte_level(control: list[str], plain: list[str], patterns: list[str], whole: bool, size: int) -> tk.Tokenizer:
    made = tk.Tokenizer(models.BPE(ignore_merges=whole))
    cuts: list[Any] = [pre_tokenizers.Split(tk.Regex(p), "isolated") for p in patterns]
    made.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(vocab_size=size, special_tokens=control, initial_alphabet=alphabet, show_progress=False),
    )
    made.add_tokens([tk.AddedToken(t, normalized=False) for t in plain])
    return made


@cache
def spm_model(prefix: bool = True, size: int = 700) -> bytes:
    """A SentencePiece BPE model with byte fallback, trained by the sentencepiece library."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in corpus() for line in text.split("\n") if line]),
        model_writer=out,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=0.98,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return out.getvalue()


def spm_fields(prefix: bool = True) -> dict[str, Any]:
    """The same model as GGUF metadata."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=spm_model(prefix))
    n = pieces.get_piece_size()
    kinds = [
        2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1 for i in range(n)
    ]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [pieces.id_to_piece(i) for i in range(n)],
        "tokenizer.ggml.scores": [pieces.get_score(i) for i in range(n)],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_space_prefix": prefix,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def _sentencepiece(family: str) -> dict[str, Any]:
    """A tokenizer.json in the three forms in which Llama-2, Mistral and Gemma are published."""
    control = CONTROL[family]
    made = tk.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    made.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=900, special_tokens=[*control, *bytes_], show_progress=False, limit_alphabet=150
        ),
    )
    spec = json.loads(made.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] in control]
    to_text: list[Any] = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]
    to_text.append({"type": "Fuse"})
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    if family in ("llama2", "phi3"):
        spec["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
        to_text.append(strip)
    elif family == "mistral":
        spec["normalizer"] = None
        meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        spec["pre_tokenizer"] = meta
        to_text.append(strip)
    if family == "phi3":
        for token in spec["added_tokens"]:
            token["rstrip"] = token["content"].startswith("<|")
    spec["decoder"] = {"type": "Sequence", "decoders": to_text}
    return spec


@cache
def spec(family: str) -> str:
    """The tokenizer.json text of a family."""
    bos = NAMED[family]["bos_token"]
    if family in ("llama2", "mistral", "gemma", "phi3"):
        made = tk.Tokenizer.from_str(json.dumps(_sentencepiece(family)))
    else:
        patterns = [GPT2] if family == "chatml" else [r"\p{N}{1,3}", GPT2]
        made = _byte_level(CONTROL[family], PLAIN.get(family, []), patterns, family == "llama3", 900)
    if family != "chatml":
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, made.token_to_id(bos))]
        )
    return made.to_str()


def bpe_fields(pre: str, patterns: list[str], whole: bool = False) -> dict[str, Any]:
    """GGUF metadata of a byte-level BPE trained with `patterns`."""
    control = CONTROL["chatml"]
    made = _byte_level(control, [], patterns, whole, 1200)
    data = json.loads(made.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].__getitem__)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if t in control else 1 for t in tokens],
        "tokenizer.ggml.merges": [" ".join(m) if isinstance(m, list) else m for m in data["merges"]],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def template(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
