"""Tokenizers of the `tokenizer.json` format, over the `tokenizers` library."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from idiolect.core.errors import BadInput, CorruptFile
from idiolect.text.detokenize import SPACE_MARK, StreamDecoder, decoder_kind, piece_bytes
from idiolect.text.spec import (
    END_NAMES,
    NAMED,
    added_tokens,
    build,
    content,
    framed,
    framing,
    read_json,
    without_prefix,
)


class HFTokenizer:
    """A tokenizer.json with its tokenizer_config.json. Satisfies `idiolect.text.tokenizer.Tokenizer`.

    Text never reaches a special token unless asked (`special=True`); added tokens that are not special (`<think>`)
    stay reachable, as they are in transformers and llama.cpp. `encode` gives the ids of transformers'
    `tokenizer.encode(text, add_special_tokens=False)`, with one exception: U+2581 in the text of a byte-fallback
    tokenizer becomes its three byte tokens instead of a space, so that every text comes back as it was. What the file
    itself loses (a normalizer's NFC or lower case; the first space, where Metaspace adds one only if there is none)
    stays lost.

    Objects are safe to share between threads.
    """

    def __init__(
        self, spec: Mapping[str, Any], config: Mapping[str, Any] | None = None, *, eos_ids: Iterable[int] = ()
    ) -> None:
        """`spec`: the parsed tokenizer.json; `config`: the parsed tokenizer_config.json; `eos_ids`: more ids that
        end a generation (of generation_config.json)."""
        config = config or {}
        if not isinstance(spec.get("model"), Mapping):
            raise CorruptFile("the tokenizer has no model", hint="give a tokenizer.json written by a fast tokenizer")
        spec = {**spec, "truncation": None, "padding": None}
        self.named = {name: text for name in NAMED if (text := content(config.get(name))) is not None}
        spec["added_tokens"] = added = added_tokens(spec, config, set(self.named.values()))
        self._spec = spec
        self._backend = build(spec)
        for entry in added:
            if self._backend.token_to_id(entry["content"]) != entry["id"]:
                raise CorruptFile(
                    f"added token {entry['content']!r} has id {entry['id']} but its place is "
                    f"{self._backend.token_to_id(entry['content'])}",
                    hint="the vocabulary and added_tokens of tokenizer.json do not fit together",
                )
        self._added = {entry["content"]: entry for entry in added}
        self.specials: Mapping[str, int] = {e["content"]: e["id"] for e in added if e["special"]}
        self._control = frozenset(self.specials.values())
        self._control_text = {token: text for text, token in self.specials.items()}
        unknown = spec["model"].get("unk_token")
        unknown_id = None if unknown is None else self._backend.token_to_id(unknown)
        self._forbidden = self._control - {unknown_id}  # never the ids of plain text
        self.bos_id = self._id(self.named.get("bos_token"))
        self.eos_ids = self._find_eos(eos_ids)
        self.prefix, self.suffix = self._find_frame(config)
        self._kind, self._strip = decoder_kind(spec.get("decoder"))
        self._continues = spec["model"].get("continuing_subword_prefix") or ""
        self._bytes: dict[int, bytes] = {}
        self._pattern = re.compile("|".join(map(re.escape, sorted(self.specials, key=len, reverse=True))) or "(?!)")
        self._prefix_once = '"prepend_scheme": "first"' in json.dumps(spec.get("pre_tokenizer"))
        marks = [self._backend.token_to_id(f"<0x{b:02X}>") for b in SPACE_MARK.encode()]
        self._mark_ids = [m for m in marks if m is not None] if spec["model"].get("byte_fallback") else []

    # ------------------------------------------------------------------------------------------------ files

    @classmethod
    def from_file(
        cls, path: str | Path, config: Mapping[str, Any] | None = None, *, eos_ids: Iterable[int] = ()
    ) -> HFTokenizer:
        """Read `tokenizer.json`. Without `config` the tokenizer_config.json beside it is read when there is one.

        Raises `NotFound` and `CorruptFile`."""
        path = Path(path)
        spec = read_json(path)
        beside = path.with_name("tokenizer_config.json")
        if config is None and beside.exists():
            config = read_json(beside)
        return cls(spec, config, eos_ids=eos_ids)

    def to_json(self) -> str:
        """The tokenizer.json text. `tokenizers`, transformers and `from_file` give equal ids from it: where the
        configuration has the last word on bos and eos, the text says so itself."""
        spec = self._spec
        if (self.prefix, self.suffix) != self._file_frame:
            sides = [[(str(self._backend.id_to_token(i)), i) for i in side] for side in (self.prefix, self.suffix)]
            spec = {**spec, "post_processor": framing(spec.get("post_processor"), *sides)}
        return json.dumps(spec, ensure_ascii=False)

    def config(self) -> dict[str, Any]:
        """The tokenizer_config.json that belongs to `to_json` (chat template and length left to the caller)."""
        own = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        return {**own, "add_bos_token": self.add_bos, **self.named}

    def save(self, directory: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json into `directory`."""
        Path(directory, "tokenizer.json").write_text(self.to_json(), encoding="utf-8")
        text = json.dumps(self.config(), ensure_ascii=False, indent=2)
        Path(directory, "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @cached_property
    def fingerprint(self) -> str:
        parts = ("model", "added_tokens", "normalizer", "pre_tokenizer", "decoder")
        seen = {part: self._spec.get(part) for part in parts} | {
            "named": self.named,
            "frame": [self.prefix, self.suffix],
        }
        return hashlib.sha256(json.dumps(seen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    # ----------------------------------------------------------------------------------------------- facts

    def __len__(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def add_bos(self) -> bool:
        """Whether the model was made with `bos_id` in front of every text."""
        return self.bos_id is not None and self.prefix[:1] == (self.bos_id,)

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """Every vocabulary entry as the file spells it."""
        return self._backend.get_vocab(with_added_tokens=True)

    def _id(self, text: str | None) -> int | None:
        return None if text is None else self._backend.token_to_id(text)

    def _find_eos(self, more: Iterable[int]) -> tuple[int, ...]:
        ends = [name for name in self.specials if name in END_NAMES]
        if {"<|return|>", "<|call|>"} <= set(ends):  # in that format <|end|> closes a message, not the turn
            ends.remove("<|end|>") if "<|end|>" in ends else None
        own = self._id(self.named.get("eos_token"))
        found = ([] if own is None else [own]) + list(more) + [self.specials[name] for name in ends]
        return tuple(dict.fromkeys(found))

    def _find_frame(self, config: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the post-processor puts around a text, with the configuration's word on bos and eos."""
        encoding = self._backend.encode("a", add_special_tokens=True)
        flags, ids = encoding.special_tokens_mask, encoding.ids
        if 0 not in flags:
            head, tail = len(ids), 0
        else:
            head, tail = flags.index(0), flags[::-1].index(0)
        self._file_frame = prefix, suffix = tuple(ids[:head]), tuple(ids[len(ids) - tail :])
        eos = self._id(self.named.get("eos_token"))
        prefix = framed(prefix, self.bos_id, config.get("add_bos_token"), front=True)
        return prefix, framed(suffix, eos, config.get("add_eos_token"), front=False)

    # --------------------------------------------------------------------------------------------- encoding

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Ids of `text`. `special=True` reads control tokens in the text as such. `bos=True` puts the
        beginning-of-sequence token in front if the model uses one (`add_bos`), never twice."""
        if special:
            ids = [i for part in self.encode_parts(text, text) for i in part[0]]
        else:
            ids = self.encode_span(text)[0]
        if bos and self.add_bos and ids[:1] != [self.bos_id]:
            ids.insert(0, self.prefix[0])
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`[encode(text) for text in texts]` on all cores."""
        if self._mark_ids and any(SPACE_MARK in text for text in texts):
            return [self.encode(text) for text in texts]
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _surrogate("".join(texts), error) from error
        return [
            self.encode(text) if self._reaches_control(e.ids) else e.ids
            for text, e in zip(texts, encodings, strict=True)
        ]

    def frame(self, ids: Sequence[int], limit: int | None = None) -> list[int]:
        """`ids` as the model expects a whole input (`[CLS] ids [SEP]`; bos in front), cut to `limit` tokens."""
        if limit is not None:
            ids = ids[: max(0, limit - len(self.prefix) - len(self.suffix))]
        return [*self.prefix, *ids, *self.suffix]

    def encode_parts(
        self, text: str, visible: str, span: tuple[int, int] | None = None
    ) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode `text`, reading control tokens only where `visible` shows them.

        `visible` is `text` with the characters that must not form a control token replaced, one for one, by something
        else. Text between control tokens is encoded in one piece, so that merges are those of the whole text.
        Returns a list of (ids, character spans of those ids in `text`).
        """
        parts: list[tuple[list[int], list[tuple[int, int]]]] = []
        done = 0
        for match in self._pattern.finditer(visible):
            start, end = match.span()
            entry = self._added[match.group()]
            if start < done:
                continue  # eaten by the token before
            if entry.get("single_word") and _inside_word(visible, start, end):
                continue
            if entry.get("lstrip"):
                start = done + len(text[done:start].rstrip())
            if entry.get("rstrip"):
                end += len(text[end:]) - len(text[end:].lstrip())
            if start > done:
                parts.append(self._shifted(text[done:start], done))
            parts.append(([entry["id"]], [(start, end)]))
            done = end
        if done < len(text):
            parts.append(self._shifted(text[done:], done))
        return parts

    def _shifted(self, text: str, start: int) -> tuple[list[int], list[tuple[int, int]]]:
        ids, spans = self.encode_span(text, first=start == 0)
        return ids, [(a + start, b + start) for a, b in spans]

    def encode_span(self, text: str, first: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of ordinary text and the character span of each. `first`: the text begins the sequence (some
        SentencePiece tokenizers put a space there only)."""
        if self._mark_ids and SPACE_MARK in text:
            return self._encode_marks(text, first)
        backend = self._backend if first or not self._prefix_once else self._inner
        try:
            encoding = backend.encode(text, add_special_tokens=False)
        except TypeError as error:
            raise _surrogate(text, error) from error
        ids, spans = encoding.ids, encoding.offsets
        if self._reaches_control(ids):
            return self._break_control(ids, spans, text)
        return ids, spans

    def _reaches_control(self, ids: list[int]) -> bool:
        return not self._forbidden.isdisjoint(ids)

    def _encode_marks(self, text: str, first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """The text around each U+2581 in pieces, the character itself as bytes."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        done = 0
        for index, run in enumerate(text.split(SPACE_MARK)):
            if index:
                ids += self._mark_ids
                spans += [(done, done + 1)] * len(self._mark_ids)
                done += 1
            backend = self._backend if index == 0 and (first or not self._prefix_once) else self._inner
            if run:
                encoding = backend.encode(run, add_special_tokens=False)
                ids += encoding.ids
                spans += [(a + done, b + done) for a, b in encoding.offsets]
                done += len(run)
        return ids, spans

    def _break_control(
        self, ids: list[int], spans: list[tuple[int, int]], text: str
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Re-encode, one character at a time, each stretch of plain text that the model would merge into a control
        token. Only odd files (whole-word vocabularies with control tokens among the words) come here."""
        fixed: list[tuple[int, tuple[int, int]]] = []
        for token, (start, end) in zip(ids, spans, strict=True):
            if token not in self._forbidden:
                fixed.append((token, (start, end)))
                continue
            for at in range(start, end):
                own = self._inner.encode(text[at], add_special_tokens=False).ids
                fixed += [(i, (at, at + 1)) for i in own if i not in self._forbidden]
        return [token for token, _ in fixed], [span for _, span in fixed]

    @cached_property
    def _inner(self) -> Backend:
        """The same tokenizer without a space put before the text: for text that does not begin the sequence."""
        spec = copy.copy(self._spec)
        spec["pre_tokenizer"] = without_prefix(spec.get("pre_tokenizer"))
        spec["normalizer"] = without_prefix(spec.get("normalizer"))
        return build(spec)

    # --------------------------------------------------------------------------------------------- decoding

    def token_bytes(self, token: int) -> bytes:
        """The exact bytes that a token adds to the text. Empty for control tokens and ids outside the vocabulary."""
        data = self._bytes.get(token)
        if data is None:
            if token in self._control:
                data = b""
            else:
                data = self._raw_bytes(token)
            self._bytes[token] = data
        return data

    def _raw_bytes(self, token: int) -> bytes:
        piece = self._backend.id_to_token(token) if 0 <= token < 1 << 31 else None
        if piece is None:
            return b""
        return piece_bytes(piece, self._kind, self._continues)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        if special:
            raw = [self._control_text[i].encode() if i in self._control else self.token_bytes(i) for i in ids]
        else:
            raw = [self.token_bytes(i) for i in ids]
        data = b"".join(raw)
        return (data.removeprefix(b" ") if self._strip else data).decode("utf-8", "replace")

    def piece(self, token: int) -> str:
        if token in self._control:
            return self._control_text[token]
        return self.token_bytes(token).decode("utf-8", "backslashreplace")

    def stream(self, *, continuing: bool = False) -> StreamDecoder:
        """A decoder for one sequence. `continuing`: the tokens follow other text, so that a SentencePiece
        tokenizer's first space is kept."""
        return StreamDecoder(self.token_bytes, self._strip and not continuing)


def _inside_word(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return before.isalnum() or before == "_" or after.isalnum() or after == "_"


def _surrogate(text: str, error: TypeError) -> Exception:
    """The library refuses half a character; everything else that it refuses is a mistake of the caller's code."""
    at = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    if at is None:
        return error
    return BadInput(f"the text holds a lone surrogate at character {at}", hint="send valid Unicode text")
