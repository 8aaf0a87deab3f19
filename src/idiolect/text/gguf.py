"""Tokenizers from GGUF metadata, rebuilt as tokenizer.json so that there is one kind of tokenizer everywhere.

`tokenizer.ggml.model` says the family: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE: scores instead of merges)
and `bert` (WordPiece). The keys are those of the GGUF specification (ggml, docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idiolect.core.errors import BadInput, CorruptFile
from idiolect.text.detokenize import SPACE_MARK
from idiolect.text.hf import HFTokenizer
from idiolect.text.pretokenizers import pretokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type
_IDS = {"bos": "bos", "eos": "eos", "unknown": "unk", "seperator": "sep", "separator": "sep", "padding": "pad"}
_IDS |= {"cls": "cls", "mask": "mask"}


def from_gguf(fields: Mapping[str, Any]) -> HFTokenizer:
    """The tokenizer that a GGUF file describes.

    `fields` are the file's metadata as plain Python values (strings, numbers, lists) by their full key. Raises
    `BadInput` for a family or pre-tokeniser that is not known (the message lists those that are) and `CorruptFile`
    for metadata that do not fit together.
    """
    meta = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
    family = meta.get("model")
    if family not in _FAMILIES:
        raise BadInput(
            f"unknown GGUF tokenizer model {family!r}",
            hint=f"known: {', '.join(_FAMILIES)}",
            param="tokenizer.ggml.model",
        )
    tokens = _tokens(meta)
    types = _array(meta, "token_type", len(tokens)) or [NORMAL] * len(tokens)
    defaults, build = _FAMILIES[family]
    ids = {**defaults, **{_IDS[k]: v for k in _IDS if (v := meta.get(f"{k}_token_id")) is not None}}
    if family == "bert":
        ids.setdefault("cls", ids.pop("bos", 101))
    named = {name: tokens[i] for name, i in ids.items() if 0 <= i < len(tokens)}
    spec = build(meta, tokens, types, named)
    spec["added_tokens"] = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != USER_DEFINED,
        }
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (CONTROL, UNKNOWN, USER_DEFINED)
    ]
    config: dict[str, Any] = {f"{name}_token": text for name, text in named.items()}
    ends = [int(meta[k]) for k in ("eot_token_id", "eom_token_id") if meta.get(k) is not None]
    return HFTokenizer(spec, config, eos_ids=ends)


def _tokens(meta: Mapping[str, Any]) -> list[str]:
    tokens = list(meta.get("tokens") or ())
    if not tokens:
        raise CorruptFile(
            "the GGUF file has no tokenizer.ggml.tokens", hint="it holds no vocabulary: fetch another file"
        )
    tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]
    if len(set(tokens)) != len(tokens):
        raise CorruptFile("the GGUF vocabulary has a token twice", hint="the file is damaged or was badly converted")
    return tokens


def _array(meta: Mapping[str, Any], key: str, size: int) -> list[Any] | None:
    values = meta.get(key)
    if values is None:
        return None
    if len(values) != size:
        raise CorruptFile(
            f"tokenizer.ggml.{key} has {len(values)} entries for {size} tokens",
            hint="the file is damaged or was badly converted",
        )
    return list(values)


def _frame(meta: Mapping[str, Any], named: Mapping[str, str], bos: bool, vocabulary: Mapping[str, int]) -> Any:
    """The post-processor: bos before, and eos or sep after, as the metadata want it."""
    before = named.get("bos") if meta.get("add_bos_token", bos) else None
    after = named.get("eos") if meta.get("add_eos_token", False) else None
    return _template(before, after, vocabulary)


def _template(before: str | None, after: str | None, vocabulary: Mapping[str, int]) -> Any:
    special = [token for token in (before, after) if token is not None]
    if not special:
        return None

    def part(sequence: str, kind: int) -> list[dict[str, Any]]:
        pieces: list[dict[str, Any]] = [{"Sequence": {"id": sequence, "type_id": kind}}]
        if before is not None and kind == 0:
            pieces.insert(0, {"SpecialToken": {"id": before, "type_id": kind}})
        if after is not None:
            pieces.append({"SpecialToken": {"id": after, "type_id": kind}})
        return pieces

    return {
        "type": "TemplateProcessing",
        "single": part("A", 0),
        "pair": part("A", 0) + part("B", 1),
        "special_tokens": {t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]} for t in dict.fromkeys(special)},
    }


def _bpe_model(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], **options: Any) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **options,
        "vocab": vocabulary,
        "merges": merges,
    }


def _byte_level(
    meta: Mapping[str, Any], tokens: list[str], types: list[int], named: Mapping[str, str]
) -> dict[str, Any]:
    pre = pretokenizer(meta.get("pre") or "default")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if meta.get("merges") is None:
        raise CorruptFile(
            "the GGUF file has no tokenizer.ggml.merges", hint="it was badly converted: fetch another file"
        )
    merges: list[Any] = [tuple(merge.split(" ")) for merge in meta["merges"]]
    for i, pair in enumerate(merges):
        if len(pair) != 2 or not pair[0]:  # a part that is or begins with a space
            merges[i] = _cut(meta["merges"][i])
    return {
        "version": "1.0",
        "normalizer": None,
        "pre_tokenizer": pre.spec(),
        "post_processor": _frame(meta, named, pre.bos, vocabulary),
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": _bpe_model(vocabulary, merges, ignore_merges=pre.whole_words),
    }


def _cut(merge: str) -> tuple[str, str]:
    at = merge.find(" ", 1)
    if at < 0:
        raise CorruptFile(f"merge {merge!r} has one part", hint="the file is damaged or was badly converted")
    return merge[:at], merge[at + 1 :]


def score_merges(tokens: Sequence[str], scores: Sequence[float], types: Sequence[int]) -> list[tuple[str, str]]:
    """Merge rules in the order in which SentencePiece's BPE applies them: it always joins the neighbours whose joined
    piece has the highest score. A piece gets one rule for each way to cut it into two pieces; control, byte and
    user-defined pieces are never made by merging."""
    mergeable = {t: i for i, (t, kind) in enumerate(zip(tokens, types, strict=True)) if kind in (NORMAL, UNUSED)}
    rules: list[tuple[float, int, int, int, str, str]] = []
    for token, index in mergeable.items():
        if types[index] == UNUSED:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in mergeable and right in mergeable:
                rules.append((-scores[index], -cut, mergeable[left], mergeable[right], left, right))
    rules.sort()
    return [rule[4:] for rule in rules]


def _sentencepiece(
    meta: Mapping[str, Any], tokens: list[str], types: list[int], named: Mapping[str, str]
) -> dict[str, Any]:
    scores = _array(meta, "scores", len(tokens))
    if scores is None:
        raise CorruptFile(
            "the GGUF file has no tokenizer.ggml.scores", hint="it was badly converted: fetch another file"
        )
    vocabulary = {token: i for i, token in enumerate(tokens)}
    prefix = bool(meta.get("add_space_prefix", True))
    normalizers: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        normalizers.insert(0, {"type": "Prepend", "prepend": SPACE_MARK})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    fallback = all(f"<0x{b:02X}>" in vocabulary for b in range(256))
    return {
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": _frame(meta, named, True, vocabulary),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _bpe_model(
            vocabulary,
            score_merges(tokens, scores, types),
            unk_token=named.get("unk"),
            fuse_unk=True,
            byte_fallback=fallback,
        ),
    }


def _wordpiece(
    meta: Mapping[str, Any], tokens: list[str], types: list[int], named: Mapping[str, str]
) -> dict[str, Any]:
    """GGUF marks the beginning of a word (U+2581), WordPiece its continuation (`##`)."""
    plain = {i for i, kind in enumerate(types) if kind == NORMAL}
    if any(tokens[i].startswith(SPACE_MARK) for i in plain):
        for i in plain:
            token = tokens[i]
            tokens[i] = token[1:] if token.startswith(SPACE_MARK) else "##" + token
    vocabulary = {token: i for i, token in enumerate(tokens)}
    lower = bool(meta.get("normalizer.lowercase", True))
    accents = bool(meta.get("normalizer.strip_accents", lower))
    return {
        "version": "1.0",
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": accents,
            "lowercase": lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(named.get("cls"), named.get("sep"), vocabulary),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": named.get("unk", "[UNK]"),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }


_FAMILIES: dict[str, tuple[dict[str, int], Any]] = {
    "gpt2": ({}, _byte_level),
    "llama": ({"bos": 1, "eos": 2, "unk": 0}, _sentencepiece),
    "bert": ({"bos": 101, "unk": 100, "sep": 102, "pad": 0, "mask": 103}, _wordpiece),
}
