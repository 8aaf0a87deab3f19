"""Tokenizers for models that start blank, learned from the training text with the `tokenizers` library.

`characters`: every character that occurs is a token, and one more stands for all others. `bpe`: byte-level byte-pair
encoding (Sennrich et al. 2015, arXiv:1508.07909; bytes as in GPT-2). Either is an ordinary tokenizer.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from idiolect.core.errors import BadInput
from idiolect.text.hf import HFTokenizer

END = "<|endoftext|>"
UNKNOWN = "<unk>"
PIECE = 1 << 20  # characters that are handed to the trainer at once


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """`existing` takes the tokenizer of the model `source`; `bpe` learns `size` tokens, the end of text among them."""

    kind: Literal["characters", "bpe", "existing"] = "bpe"
    size: int = 4096
    source: str | None = None

    def __post_init__(self) -> None:
        if self.kind == "existing" and self.source is None:
            raise BadInput("tokenizer.source is missing", hint="name the model whose tokenizer is taken")
        if self.kind == "bpe" and self.size < 257:
            raise BadInput(f"tokenizer.size is {self.size}", hint="256 bytes and the end of text need 257")


def learn(config: TokenizerConfig, texts: Iterable[str]) -> HFTokenizer:
    """The tokenizer that `config` describes. `texts` is read once, and not at all for an existing one."""
    if config.kind == "existing":
        from idiolect.models.read import open_source
        from idiolect.models.words import tokenizer_of

        return tokenizer_of(open_source(str(config.source)))
    return characters(texts) if config.kind == "characters" else byte_pairs(texts, config.size)


def characters(texts: Iterable[str]) -> HFTokenizer:
    """One token for each character of `texts`, in the order of their code points, then the unknown one."""
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    seen.discard("\u2581")  # reads as a space in every decoder of this kind
    if not seen:
        raise BadInput("the training text is empty", hint="give some text")
    vocabulary = {c: i for i, c in enumerate(sorted(seen))} | {UNKNOWN: len(seen)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse()])
    backend.add_special_tokens([UNKNOWN])
    return HFTokenizer(json.loads(backend.to_str()), {"unk_token": UNKNOWN})


def byte_pairs(texts: Iterable[str], size: int) -> HFTokenizer:
    """`size` tokens: 256 bytes, the merges that pay most in `texts`, and the end of text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(_pieces(texts), trainer)
    return HFTokenizer(json.loads(backend.to_str()), {"eos_token": END})


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for begin in range(0, len(text), PIECE):
            yield text[begin : begin + PIECE]
