"""The parts of a tokenizer.json and its tokenizer_config.json, read with care."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE

from idiolect.core.errors import CorruptFile, NotFound

# Names under which published models close a turn or a text. A file often names only one of them as its eos.
END_NAMES = frozenset(
    (
        *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<turn|>", "<|endoftext|>"),
        *("<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"),
        *("<|return|>", "<|call|>"),
    )
)
# Added tokens that open or close a turn are control tokens even where a file forgot to call them special.
TURN_NAMES = END_NAMES | frozenset(
    (
        *("<|im_start|>", "<start_of_turn>", "<|turn>", "<|start_header_id|>", "<|end_header_id|>", "<|user|>"),
        *("<|assistant|>", "<|system|>", "<|begin_of_text|>", "<|start|>", "<|message|>", "<|channel|>", "[INST]"),
        *("[/INST]", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    )
)
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

EMPTY = {"type": "BPE", "vocab": {}, "merges": []}


def read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"no file {path}", hint="give the path of a tokenizer.json") from error
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} is no JSON file: {error}", hint="fetch the file again") from error
    if not isinstance(data, dict):
        raise CorruptFile(f"{path} holds no JSON object", hint="fetch the file again")
    return data


def build(spec: Mapping[str, Any]) -> Backend:
    try:
        backend = _with_pairs(spec) if _has_pairs(spec["model"]) else Backend.from_str(json.dumps(spec))
    except Exception as error:  # the library raises bare Exception
        raise CorruptFile(f"the tokenizer cannot be built: {error}", hint="check the tokenizer file") from error
    backend.encode_special_tokens = True  # special tokens in text are plain text
    return backend


def _has_pairs(model: Mapping[str, Any]) -> bool:
    return model.get("type") == "BPE" and bool(model.get("merges")) and not isinstance(model["merges"][0], str)


def _with_pairs(spec: Mapping[str, Any]) -> Backend:
    """The same as from JSON, without writing and reading a vocabulary and its merges as text."""
    own = dict(spec["model"])
    vocabulary, merges = own.pop("vocab"), [tuple(pair) for pair in own.pop("merges")]
    del own["type"]
    options = {name: value for name, value in own.items() if value is not None}
    backend = Backend.from_str(json.dumps({**spec, "model": EMPTY, "added_tokens": []}))
    backend.model = BPE(vocab=vocabulary, merges=merges, **options)
    for entry in spec.get("added_tokens") or ():
        kept = {name: entry[name] for name in ("single_word", "lstrip", "rstrip", "normalized") if name in entry}
        token = AddedToken(entry["content"], special=entry.get("special", False), **kept)
        add = backend.add_special_tokens if entry.get("special") else backend.add_tokens
        add([token])
    return backend


def content(value: Any) -> str | None:
    """A token of tokenizer_config.json: a string or {"content": ...}."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def added_tokens(spec: Mapping[str, Any], config: Mapping[str, Any], named: set[str]) -> list[dict[str, Any]]:
    """The added tokens of both files; those that the configuration names (bos, eos, ...) and those that open or
    close a turn are special, as transformers has it for the former."""
    defaults = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    added = [{**defaults, **entry} for entry in spec.get("added_tokens") or []]
    known = {entry["content"] for entry in added}
    for token, entry in (config.get("added_tokens_decoder") or {}).items():
        if entry["content"] not in known:
            known.add(entry["content"])
            added.append({**defaults, **entry, "id": int(token)})
    vocabulary = spec["model"].get("vocab")
    if isinstance(vocabulary, Mapping):
        for text in sorted(named - known):
            if text in vocabulary:
                added.append({**defaults, "id": vocabulary[text], "content": text})
    for entry in added:
        if entry["content"] in named or entry["content"] in TURN_NAMES:
            entry["special"] = True
    return sorted(({k: v for k, v in e.items() if k != "__type"} for e in added), key=lambda e: e["id"])


def framed(frame: tuple[int, ...], token: int | None, wanted: Any, *, front: bool) -> tuple[int, ...]:
    """`frame` with or without `token` as the configuration wants; None: as the file has it."""
    if token is None or wanted is None or wanted == (token in frame):
        return frame
    if not wanted:
        return tuple(i for i in frame if i != token)
    return (token, *frame) if front else (*frame, token)


def framing(found: Any, before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The post-processor that puts these tokens (text, id) around a text, in place of the file's own; byte-level steps,
    which only move offsets, stay."""

    def part(sequence: str, kind: int) -> list[dict[str, Any]]:
        specials = [[{"SpecialToken": {"id": text, "type_id": kind}} for text, _ in side] for side in (before, after)]
        return [*specials[0], {"Sequence": {"id": sequence, "type_id": kind}}, *specials[1]]

    own = {
        "type": "TemplateProcessing",
        "single": part("A", 0),
        "pair": part("A", 0) + part("B", 1),
        "special_tokens": {text: {"id": text, "ids": [i], "tokens": [text]} for text, i in (*before, *after)},
    }
    steps = [found, *((found or {}).get("processors") or ())]
    kept = [step for step in steps if isinstance(step, Mapping) and step.get("type") == "ByteLevel"]
    return {"type": "Sequence", "processors": [*kept, own]} if kept else own


def without_prefix(step: Any) -> Any:
    if not isinstance(step, Mapping):
        return step
    kind = step.get("type")
    if kind == "Sequence":
        name = "normalizers" if "normalizers" in step else "pretokenizers"
        return {**step, name: [s for s in map(without_prefix, step[name]) if s is not None]}
    if kind == "Metaspace":
        return {**{k: v for k, v in step.items() if k != "add_prefix_space"}, "prepend_scheme": "never"}
    return None if kind == "Prepend" else step
