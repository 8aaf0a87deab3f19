"""From tokens back to bytes, and from bytes to text a piece at a time.

Every tokenizer here decodes by joining the exact bytes of its tokens, so that the whole and the stream cannot differ.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

Kind = Literal["bytes", "pieces", "words"]
SPACE_MARK = "\u2581"  # SentencePiece's visible space


@cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's map from 256 printable characters to bytes (Radford et al. 2019): bytes that print stand for
    themselves, the others are moved to U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(rest)}


def decoder_kind(decoder: Mapping[str, Any] | None) -> tuple[Kind, bool]:
    """How a `tokenizer.json` decoder turns pieces into text, and whether the first space of a text is only a mark of
    its beginning. `bytes`: byte-level BPE; `pieces`: SentencePiece; `words`: WordPiece and whole words."""
    if decoder is None:
        return "words", True
    steps = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    types = {step["type"] for step in steps}
    if "ByteLevel" in types:
        return "bytes", False
    if types & {"Metaspace", "Replace", "ByteFallback"}:
        strip = any(step["type"] == "Strip" and step.get("start", 0) > 0 for step in steps)
        meta = next((step for step in steps if step["type"] == "Metaspace"), None)
        if meta is not None:
            strip = meta.get("prepend_scheme", "always" if meta.get("add_prefix_space", True) else "never") != "never"
        return "pieces", strip
    return "words", True


def piece_bytes(piece: str, kind: Kind, prefix: str = "##") -> bytes:
    """The bytes that vocabulary entry `piece` stands for. `prefix` marks a WordPiece that continues a word."""
    if kind == "bytes":
        alphabet = byte_alphabet()
        try:
            return bytes([alphabet[c] for c in piece])
        except KeyError:  # an added token with raw text in it
            return piece.encode()
    if kind == "pieces":
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            try:
                return bytes([int(piece[3:5], 16)])
            except ValueError:
                pass
        return piece.replace(SPACE_MARK, " ").encode()
    return piece[len(prefix) :].encode() if prefix and piece.startswith(prefix) else b" " + piece.encode()


class StreamDecoder:
    """Incremental detokenisation. The pushes and the flush joined are `decode` of all tokens, and no push ever ends
    inside a UTF-8 character."""

    __slots__ = ("_strip", "_token_bytes", "_utf8")

    def __init__(self, token_bytes: Callable[[int], bytes], strip: bool) -> None:
        self._token_bytes = token_bytes
        self._strip = strip
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        data = self._token_bytes(token)
        if self._strip and data:
            self._strip = False
            data = data.removeprefix(b" ")
        return self._utf8.decode(data)

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)
