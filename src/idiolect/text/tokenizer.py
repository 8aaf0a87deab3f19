"""The tokenizer protocol: text in, ids out, and back to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Decoder(Protocol):
    """Incremental detokenisation: `push` returns the text that is now certain (never half a UTF-8 character)."""

    def push(self, token: int) -> str: ...

    def flush(self) -> str:
        """Whatever is left; bytes that are no UTF-8 become U+FFFD."""
        ...


class Tokenizer(Protocol):
    """What every model carries. Special tokens are not reachable from text unless `special=True`: a user who types
    `<|im_end|>` gets the tokens of those characters, not the end of a turn."""

    bos_id: int | None
    eos_ids: tuple[int, ...]  # every id that ends a generation
    specials: Mapping[str, int]  # control tokens by their text
    fingerprint: str  # sha256 of the vocabulary, merges, specials and pre-tokeniser

    def __len__(self) -> int: ...

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Ids of `text`. `special=True` lets control tokens in the text become their ids; `bos=True` puts the
        beginning-of-sequence token in front when the model has one."""
        ...

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of `ids`; control tokens are left out unless `special=True`."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The exact bytes that a token adds to the text (empty for control tokens)."""
        ...

    def piece(self, token: int) -> str:
        """A printable form of one token, control tokens included, for traces."""
        ...

    def stream(self) -> Decoder: ...
