"""Text to search terms, for every script.

Words of spaced scripts are folded (Unicode NFKC, case, Latin and Greek accents) and English suffixes are stemmed
(Porter2, Porter 2001). Scripts written without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar), and Hangul, whose words
carry their particles, become single characters and pairs, the usual way to search them without a dictionary.
camelCase and snake_case names also give their parts, so that code is found by its words.

A term is a 64-bit hash (BLAKE2b) of its text: no vocabulary has to be kept in step between processes. Two of a
million terms collide with a probability of about 3e-8.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import pairwise

import numpy as np
import regex
import Stemmer
from numpy.typing import NDArray

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
ASCII_WORD = re.compile(r"[a-z0-9]+")
WORD = regex.compile(rf"(?V1)[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+|[[{UNSPACED}][\p{{M}}]]+")
RUN = regex.compile(rf"[{UNSPACED}]")
CLUSTER = regex.compile(r"\P{M}\p{M}*|\p{M}+")
POSSESSIVE = re.compile(r"['\u2019]s\b")
HUMP = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}")
CAMEL = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z0-9]*?(?:{HUMP.pattern})[A-Za-z0-9]*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
CACHE_SIZE = 1 << 20  # words; each costs about 150 bytes

# The function words of English questions and sentences: they carry no topic, so a query may do without them.
_FUNCTION_WORDS = """
a an and are as at be but by can could did do does for from had has have how i if in into is it its may might must no
not of on or our shall should such that the their them then there these they this those to was we were what when where
which who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


class _Accents(dict[int, str]):
    """A `str.translate` table filled as characters are met: Latin and Greek letters lose their accents."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        bare = "".join(c for c in unicodedata.normalize("NFD", char) if not unicodedata.combining(c))
        keep = not bare or not unicodedata.name(bare[0], "").startswith(("LATIN", "GREEK"))
        self[point] = char if keep else bare
        return self[point]


class Tokeniser:
    """`tokeniser(text)` gives the terms as text, `count(text)` as hashes with their counts.

    `language` is a Snowball stemmer's name, applied to words of ASCII letters only; None leaves words whole.
    """

    def __init__(self, language: str | None = "english") -> None:
        self._stem = Stemmer.Stemmer(language, 0).stemWord if language else None
        self._accents = _Accents()
        self._stems: dict[str, str] = {}
        self._hashes: dict[str, int] = {}
        settings = f"4|{language}|{unicodedata.unidata_version}"
        self.fingerprint = hashlib.sha256(settings.encode()).hexdigest()[:16]

    def __call__(self, text: str) -> list[str]:
        stems = self._stems
        if len(stems) > CACHE_SIZE:
            self._stems = stems = {}
        terms = []
        for word in self._words(text):
            stem = stems.get(word)
            if stem is None:
                stem = stems[word] = self._term(word)
            terms.append(stem)
        return terms

    def count(self, text: str) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
        """The distinct terms of `text`, sorted [T] uint64, and how often each occurs [T] uint16 (at most 65,535)."""
        hashes, words = self._hashes, self._words(text)
        if len(hashes) > CACHE_SIZE:
            self._hashes = hashes = {}
        found = []
        for word in words:
            term = hashes.get(word)
            if term is None:
                term = hashes[word] = hash64(self._term(word))
            found.append(term)
        terms, counts = np.unique(np.array(found, dtype=np.uint64), return_counts=True)
        return terms, np.minimum(counts, 65535).astype(np.uint16)

    def _term(self, word: str) -> str:
        if self._stem is not None and word.isascii() and len(word) > 2:
            return self._stem(word)
        return word

    def _words(self, text: str) -> list[str]:
        parts: list[str] = []
        if HUMP.search(text):
            for name in CAMEL.findall(text):
                parts.extend(p.lower() for p in PART.findall(name))
        if text.isascii():
            words = ASCII_WORD.findall(POSSESSIVE.sub("", text.lower()))
            return words + parts if parts else words
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        found = WORD.findall(POSSESSIVE.sub("", folded.translate(self._accents)))
        if not RUN.search(folded):
            return found + parts if parts else found
        words = []
        for word in found:
            if RUN.search(word):
                clusters = CLUSTER.findall(word)
                words.extend(clusters)
                words.extend(a + b for a, b in pairwise(clusters))
            else:
                words.append(word)
        return words + parts


def hash64(term: str) -> int:
    """A term's 64-bit name."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
