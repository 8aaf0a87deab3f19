"""A tokenizer as GGUF metadata: the way back from `text.gguf`.

GGUF names its pre-tokenizer instead of describing it. The name is found by behaviour: the rule among the published ones
(`text.pretokenizers`) that cuts a probe text as this tokenizer does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import pre_tokenizers

from idiolect.core.errors import BadInput
from idiolect.text.detokenize import SPACE_MARK
from idiolect.text.gguf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from idiolect.text.hf import HFTokenizer
from idiolect.text.pretokenizers import PRETOKENIZERS

# Every kind of place where the published rules differ: contractions, runs of digits, signs, scripts, white space.
PROBE = (
    "I'm sure they'LL say it's DON'T  we've; x1 22 333 4444 123456789 3.14 ²³ ٣٤٥  a_b-c++ <tag> $9.99 #1! ?? ... --\n"
    "\n  def f(x):\n\t\treturn x  \r\n\r\n   Größe naïve café e\u0301 Straße ŒUVRE camelCaseHTTPServer iPhone "
    "中文字符 日本語テキスト 한국어 ไทย हिन्दी العربية עברית ქართული ელ 😀👍🏽 “quotes” — … «x» "
    "/path/to\\file  'tis \u00a0end   "
)
NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # the specification's own spelling
    "pad_token": "padding_token_id",
    "mask_token": "mask_token_id",
}


def to_gguf(tokenizer: HFTokenizer, rows: int) -> tuple[dict[str, Any], list[str]]:
    """The metadata by full key, and notes on what GGUF cannot say. `rows` is the height of the token table: ids beyond
    the vocabulary are filled with unused tokens. Raises `BadInput` for a tokenizer that GGUF has no way to name."""
    spec = json.loads(tokenizer.to_json())
    model = spec["model"]
    notes: list[str] = []
    if len(tokenizer) > rows:
        raise BadInput(f"the tokenizer has {len(tokenizer)} tokens, the model {rows} rows", hint="they do not fit")
    if model.get("type") == "WordPiece":
        return _word_pieces(tokenizer, spec, rows), notes
    if model.get("type") != "BPE":
        raise BadInput(
            f"a tokenizer of type {model.get('type')} cannot be written to GGUF",
            hint="byte-pair encodings and word pieces can",
        )
    tokens, types = _vocabulary(tokenizer, spec, rows)
    fields: dict[str, Any] = {"tokens": tokens, "token_type": types}
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    if model.get("byte_fallback"):
        fields |= {"model": "llama", "pre": "default", "scores": _scores(tokens, merges)}
        fields["add_space_prefix"] = _prefixes_space(spec)
        if fields["add_space_prefix"] and '"Metaspace"' in json.dumps(spec.get("pre_tokenizer")):
            notes.append("readers of GGUF put a space before every text, also before one that begins with a space")
        for i, kind in enumerate(types):
            if kind == NORMAL and _is_byte(tokens[i]):
                types[i] = BYTE
            elif kind == CONTROL and tokens[i] == model.get("unk_token"):
                types[i] = UNKNOWN
    else:
        fields |= {"model": "gpt2", "pre": _pre(spec), "merges": [" ".join(m) for m in merges]}
        if spec.get("normalizer") is not None:
            notes.append(f"the normalizer ({spec['normalizer'].get('type')}) has no place in GGUF and is left out")
    for name, key in NAMED.items():
        token = tokenizer._id(tokenizer.named.get(name))
        if token is not None:
            fields[key] = token
    fields["add_bos_token"] = tokenizer.add_bos
    fields["add_eos_token"] = bool(tokenizer.suffix) and tokenizer.suffix[0] == fields.get("eos_token_id")
    others = [i for i in tokenizer.eos_ids if i != fields.get("eos_token_id")]
    if "eos_token_id" not in fields and others:
        fields["eos_token_id"] = others.pop(0)
    if others:
        fields["eot_token_id"] = others[0]
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items()}, notes


def _word_pieces(tokenizer: HFTokenizer, spec: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """BERT's: GGUF marks the beginning of a word where WordPiece marks its continuation."""
    model, clean = spec["model"], spec.get("normalizer") or {}
    lower = bool(clean.get("lowercase"))
    accents = lower if clean.get("strip_accents") is None else bool(clean["strip_accents"])
    usual = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    odd = {k: clean.get(k) for k, v in usual.items() if clean.get(k) != v}
    if odd or (spec.get("pre_tokenizer") or {}).get("type") != "BertPreTokenizer" or accents != lower:
        raise BadInput(
            "the tokenizer cleans or cuts text in another way than BERT's", hint="export to a Hugging Face directory"
        )
    prefix = model.get("continuing_subword_prefix", "##")
    tokens, types = _vocabulary(tokenizer, spec, rows)
    for i, kind in enumerate(types):
        if kind == NORMAL:
            tokens[i] = tokens[i].removeprefix(prefix) if tokens[i].startswith(prefix) else SPACE_MARK + tokens[i]
        elif tokens[i] == model.get("unk_token"):
            types[i] = UNKNOWN
    fields: dict[str, Any] = {"model": "bert", "tokens": tokens, "token_type": types}
    for name, key in {**NAMED, "cls_token": "cls_token_id"}.items():
        token = tokenizer._id(tokenizer.named.get(name))
        if token is not None:
            fields[key] = token
    fields.setdefault("bos_token_id", fields.get("cls_token_id"))  # llama.cpp frames a text with bos and sep
    fields["normalizer.lowercase"] = lower
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items() if value is not None}


def _vocabulary(tokenizer: HFTokenizer, spec: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    tokens, types = [f"[PAD{i}]" for i in range(rows)], [UNUSED] * rows
    for token, i in tokenizer.vocabulary.items():
        tokens[i], types[i] = token, NORMAL
    for entry in spec["added_tokens"]:
        types[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    return tokens, types


def _scores(tokens: Sequence[str], merges: Sequence[tuple[str, ...]]) -> list[float]:
    """SentencePiece joins the neighbours whose joined piece scores highest: the rank of the first merge that makes
    a piece, negated."""
    rank: dict[str, int] = {}
    for i, merge in enumerate(merges):
        rank.setdefault("".join(merge), i)
    return [float(-rank[t]) if t in rank else 0.0 if len(t) == 1 else -1e6 for t in tokens]


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _prefixes_space(spec: Mapping[str, Any]) -> bool:
    text = json.dumps([spec.get("normalizer"), spec.get("pre_tokenizer")], ensure_ascii=False)
    scheme = '"prepend_scheme": "first"' in text or '"prepend_scheme": "always"' in text
    return scheme or f'"prepend": "{SPACE_MARK}"' in text


def _pre(spec: Mapping[str, Any]) -> str:
    """The name in `tokenizer.ggml.pre` of the rule that cuts as this tokenizer does."""
    whole = bool(spec["model"].get("ignore_merges", False))
    own = _cut(spec.get("pre_tokenizer"))
    found = [name for name, pre in PRETOKENIZERS.items() if _cut(pre.spec()) == own]
    for name in found:
        if PRETOKENIZERS[name].whole_words == whole:
            return name
    raise BadInput(
        "the tokenizer cuts text in a way that GGUF has no name for", hint="export to a Hugging Face directory"
    )


def _cut(step: Any) -> list[str]:
    """The probe text, cut. (Read through a file's text: the library has no other way to make one step.)"""
    if step is None:
        return [PROBE]
    from tokenizers import Tokenizer as Backend

    shell = {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {}, "unk_token": ""}}
    backend = Backend.from_str(json.dumps({**shell, "pre_tokenizer": step}))
    cutter: pre_tokenizers.PreTokenizer = backend.pre_tokenizer
    return [piece for piece, _ in cutter.pre_tokenize_str(PROBE)]
