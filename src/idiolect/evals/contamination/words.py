"""Text as words that are alike when a reader would call them alike, and the hashes of their n-grams.

Case, punctuation, white space and the spelling of characters (NFKC) do not count; a character of a script without
spaces (Chinese, Japanese, Korean) is a word of its own. The canonical text is UTF-8 with one space between words.

The hash of bytes b_s ... b_e-1 is the sum of (b_j + 1) M^(j-s) modulo 2^64 (Karp and Rabin 1987). Prefix sums of
(b_j + 1) M^j give that of any n-gram with two look-ups and a product by M^-s, so all n-grams of a block are hashed at
once and for every n. What hashes alike is compared byte by byte, so the figures are exact.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
BLOCK = 1 << 21  # bytes hashed together
SPACE, BREAK = 32, 0  # BREAK stands between documents; no n-gram crosses it

_ASCII = bytes(ord(chr(i).lower()) if chr(i).isalnum() and i < 128 else SPACE for i in range(256))
_OTHER = re.compile(r"[\W_]+")
_UNSPACED = re.compile("([\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])")


def canonical(text: str) -> bytes:
    """The words of the text, lower case, one space between them."""
    if text.isascii():
        raw = text.encode("ascii").translate(_ASCII)
    else:
        plain = unicodedata.normalize("NFKC", text).lower()
        raw = _UNSPACED.sub(r" \1 ", _OTHER.sub(" ", plain)).encode("utf-8", "replace")
    data = np.frombuffer(raw, np.uint8)
    word = data != SPACE
    kept = data[word | np.concatenate([[False], word[:-1]])] if len(data) else data
    return kept.tobytes().strip()


@dataclass(frozen=True, slots=True)
class Block:
    """Canonical documents, joined by BREAK. `starts` and `ends` [W] are the words' byte offsets, `document` [W] which
    of them a word belongs to; `sums` [L + 1] the prefix sums of the hash."""

    data: Bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    document: NDArray[np.int64]
    sums: Hashes

    @classmethod
    def of(cls, documents: list[bytes]) -> Block:
        data = np.frombuffer(bytes([BREAK]).join(documents), np.uint8)
        word = data > SPACE
        edges = np.diff(np.concatenate([[0], word.view(np.int8), [0]]))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        document = np.cumsum(data == BREAK)[starts] if len(starts) else starts
        sums = np.zeros(len(data) + 1, np.uint64)
        np.cumsum((data.astype(np.uint64) + np.uint64(1)) * _powers(MULTIPLIER, len(data)), out=sums[1:])
        return cls(data, starts, ends, document, sums)

    def grams(self, n: int) -> NDArray[np.int64]:
        """The words at which an n-gram begins that lies in one document."""
        if len(self.starts) < n:
            return np.zeros(0, np.int64)
        found: NDArray[np.int64] = np.flatnonzero(self.document[: len(self.starts) - n + 1] == self.document[n - 1 :])
        return found

    def hashes(self, n: int, at: NDArray[np.int64]) -> Hashes:
        """The hash of the n-gram that begins at each of the words `at`."""
        begin, end = self.starts[at], self.ends[at + n - 1]
        raw = (self.sums[end] - self.sums[begin]) * _inverse(len(self.data))[begin]
        raw ^= raw >> np.uint64(32)  # the low bits of a product depend on low bits alone: spread the high ones
        raw *= np.uint64(0xD6E8FEB86659FD93)
        mixed: Hashes = raw ^ (raw >> np.uint64(32))
        return mixed

    def gram(self, n: int, at: int) -> bytes:
        """The n-gram itself."""
        return self.data[self.starts[at] : self.ends[at + n - 1]].tobytes()


def _powers(base: int, length: int) -> Hashes:
    """[length] powers of `base` modulo 2^64."""
    size = max(BLOCK + (1 << 12), 1 << max(length, 1).bit_length()) if length > BLOCK else BLOCK + (1 << 12)
    return _table(base, size)[:length]


def _inverse(length: int) -> Hashes:
    return _powers(pow(MULTIPLIER, -1, 1 << 64), length + 1)


@lru_cache(maxsize=4)
def _table(base: int, size: int) -> Hashes:
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    found: Hashes = np.cumprod(factors, dtype=np.uint64)
    return found
