"""Text as words that are alike when a reader would call them alike, and the hashes of their n-grams.

Case, punctuation, white space and the spelling of characters (NFKC) do not count; a character of a script without
spaces (Chinese, Japanese, Korean) is a word of its own. The canonical text is UTF-8 with one space between words.

The hash of bytes b_s ... b_e-1 is the sum of (b_j + 1) M^(j-s) modulo 2^64 (Karp and Rabin 1987). Prefix sums of
(b_j + 1) M^j give that of any n-gram with two look-ups and a product by M^-s, so all n-grams of a block are hashed at
once and for every n. What hashes alike is compared byte by byte, so the figures are exact.
"""

from __future__ import annotations

import itertools
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
BLOCK = 1 << 20  # bytes hashed together; a block may have twice as many
PIECE = 1 << 14  # characters made canonical together: mostly ASCII alone, and they stay in the cache
SPACE, BREAK = 32, 0  # BREAK stands between documents; no n-gram crosses it

_ASCII = bytes(ord(chr(i).lower()) if chr(i).isalnum() and i < 128 else SPACE for i in range(256))
_UNSPACED = ((0x1100, 0x1200), (0x2E80, 0xA000), (0xAC00, 0xD800), (0xF900, 0xFB00), (0x20000, 0x40000))


def canonical(text: str) -> bytes:
    """The words of the text, lower case, one space between them."""
    if len(text) > PIECE and (cut := text.find(" ", PIECE)) >= 0:  # what stands before a space is as it is
        cuts = [0, cut]
        while len(text) - cut > PIECE and (cut := text.find(" ", cut + PIECE)) >= 0:
            cuts.append(cut)
        pieces = (canonical(text[a:b]) for a, b in itertools.pairwise([*cuts, len(text)]))
        return b" ".join(piece for piece in pieces if piece)
    if text.isascii():
        return _joined(np.frombuffer(text.encode("ascii").translate(_ASCII), np.uint8)).tobytes()
    plain = text.lower()
    if not unicodedata.is_normalized("NFKC", plain):
        plain = unicodedata.normalize("NFKC", plain).lower()
    points = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)
    word, alone = _classes()
    points = np.where(word[points], points, np.uint32(SPACE))
    if (single := alone[points]).any():  # a space on both sides
        places = np.arange(len(points)) + np.cumsum(2 * single) - single
        spread = np.full(len(points) + 2 * int(single.sum()), SPACE, np.uint32)
        spread[places] = points
        points = spread
    return _joined(points).tobytes().decode("utf-32-le").encode()


def _joined(data: NDArray[Any]) -> NDArray[Any]:
    """Characters with one space for each run of spaces, and none at the ends."""
    word = data != SPACE
    kept = data[word | np.concatenate([[False], word[:-1]])] if len(data) else data
    return kept[:-1] if len(kept) and kept[-1] == SPACE else kept


@lru_cache(maxsize=1)
def _classes() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For every code point: does it belong to words, and is it a word of its own?"""
    word = np.fromiter((chr(i).isalnum() for i in range(0x110000)), bool, 0x110000)
    alone = np.zeros(0x110000, bool)
    for begin, end in _UNSPACED:
        alone[begin:end] = True
    return word, alone & word


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
    most = 2 * BLOCK + (1 << 13)
    size = most if length <= most else 1 << length.bit_length()
    return _table(base, size)[:length]


def _inverse(length: int) -> Hashes:
    return _powers(pow(MULTIPLIER, -1, 1 << 64), length + 1)


@lru_cache(maxsize=4)
def _table(base: int, size: int) -> Hashes:
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    found: Hashes = np.cumprod(factors, dtype=np.uint64)
    return found
