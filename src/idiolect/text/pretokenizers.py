"""The pre-tokenisers that GGUF files name in `tokenizer.ggml.pre`: how text is cut before byte-pair merges.

GGUF stores a name, not the rule; the rules are those of the published models, in the order in which they cut. Names
and the grouping follow llama.cpp's list (src/llama-vocab.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from idiolect.core.errors import BadInput

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_BLANKS}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|{_BLANKS}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    r"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{tail}|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{tail}"
    r"|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{blanks}"
)
_TEKKEN = _CASED.format(upper=_UPPER, lower=_LOWER, tail="", number=r"\p{N}", blanks=_BLANKS)
_GPT4O = _CASED.format(upper=_UPPER, lower=_LOWER, tail=_CONTRACTIONS + "?", number=r"\p{N}{1,3}", blanks=_BLANKS)
_CJK = r"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
_ASCII_SIGN = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
_DEEPSEEK3 = (
    rf"{_ASCII_SIGN}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}"
)


@dataclass(frozen=True, slots=True)
class Pre:
    """`patterns` cut one after the other, each inside the pieces of the one before. `whole_words`: a piece that is
    itself a vocabulary entry is not merged step by step. `bos`: the model expects its bos token by default."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    bos: bool = False

    def spec(self) -> dict[str, Any]:
        """The `pre_tokenizer` entry of a tokenizer.json."""
        cuts = [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in self.patterns
        ]
        to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        return {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]}


_GROUPS: tuple[tuple[str, Pre], ...] = (
    (
        "gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat a.x-4.0 mellum modern-bert exaone4 jina-es "
        "jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe",
        Pre((_GPT2,)),
    ),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", Pre((r"\p{N}", _GPT2))),
    (
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        Pre((_LLAMA3,), whole_words=True, bos=True),
    ),
    ("dbrx smaug-bpe glm4 chatglm-bpe", Pre((_LLAMA3,))),
    ("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", Pre((_QWEN2,))),
    ("qwen35", Pre((_QWEN35,))),
    ("tekken", Pre((_TEKKEN,), whole_words=True, bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", Pre((_GPT4O,))),
    (
        "deepseek-llm",
        Pre(
            (
                r"[\r\n]",
                r"\s?[\p{Lu}\p{Ll}\p{Lt}&&[^\u10D0-\u10FF]]+",
                r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
                r"\s+$",
                _CJK,
                r"\p{N}+",
            )
        ),
    ),
    ("deepseek-coder", Pre((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}"))),
    ("deepseek-v3 hunyuan-dense joyai-llm hy_v4", Pre((r"\p{N}{1,3}", r"[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK3))),
    ("falcon", Pre((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]"))),
    ("bloom poro-chat gpt3-finnish", Pre((r" ?[^(\s|.,!?…。，、।۔،)]+",))),
    ("viking", Pre((r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"))),
    (
        "seed-coder",
        Pre((rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BLANKS}",)),
    ),
    ("default", Pre((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"))),
)
PRETOKENIZERS: dict[str, Pre] = {name: pre for names, pre in _GROUPS for name in names.split()}


def pretokenizer(name: str) -> Pre:
    """The rule that `tokenizer.ggml.pre` names. Raises `BadInput` with the known names."""
    try:
        return PRETOKENIZERS[name]
    except KeyError:
        known = ", ".join(sorted(PRETOKENIZERS))
        raise BadInput(
            f"unknown GGUF pre-tokenizer {name!r}", hint=f"known: {known}", param="tokenizer.ggml.pre"
        ) from None
