"""Documents to chunks, along their structure.

The document is cut into pieces (sentences of prose; lines of code, lists and tables; words or characters only where a
piece alone is too large), and pieces are packed into chunks of at most `size`. A chunk ends at the strongest border in
its second half: heading or page, block, blank line, line, sentence, word. Sections shorter than `least` share a chunk
with the next one. Where a border falls inside a section, the next chunk begins up to `overlap` earlier, at a border of
pieces. Every character that is not white space is in at least one chunk.

Sizes count characters, with four for each character of a script without spaces: an encoder's window is counted in
tokens, and a token is about four Latin letters but one Han character. The default was chosen by measurement
(docs/retrieval.md); with its headings such a chunk stays inside the 256 tokens of MiniLM.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.retrieval.types import Block, Chunk, Doc

HEADING, BLOCK, BLANK, LINE, SENTENCE, WORD = 5, 4, 3, 2, 1, 0  # strength of the border before a piece
BLANKS = re.compile(r"\n(?:[^\S\n]*\n)+")
LINES = re.compile(r"\n")
SENTENCES = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^a-z\s])|(?<=[。！？｡])[」』”）]*")
WORDS = re.compile(r"\s+")
CONTEXT = 200  # characters of title and headings, at most
WIDE = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x3FFFF))

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    start: int
    stop: int
    border: int  # strength of the border before it
    block: int  # index of its block


@dataclass(frozen=True, slots=True)
class Recursive:
    """The chunker. `size`, `overlap` and `least` are in the characters that the module's text describes."""

    size: int = 700
    overlap: int = 100
    least: int = 150

    def __post_init__(self) -> None:
        if self.size < 16:
            raise BadInput(f"a chunk size of {self.size} is too small", hint="give 16 or more", param="size")
        if not 0 <= self.overlap <= self.size // 2:
            raise BadInput(f"overlap is {self.overlap}", hint="give 0 to half of the chunk size", param="overlap")
        if not 0 <= self.least <= self.size:
            raise BadInput(f"least is {self.least}", hint="give 0 to the chunk size", param="least")

    @property
    def fingerprint(self) -> str:
        return f"recursive/1|{self.size}|{self.overlap}|{self.least}"

    def __call__(self, doc: Doc) -> Iterator[Chunk]:
        blocks = covering(doc)
        width = measure(doc.text)
        pieces = [p for i in range(len(blocks)) for p in self._cut(doc.text, blocks, i, width)]
        for first, last in self._pack(pieces, width):
            yield self._chunk(doc, blocks, pieces[first : last + 1])

    def _cut(self, text: str, blocks: list[Block], index: int, width: Callable[[int, int], int]) -> Iterator[Piece]:
        block, before = blocks[index], blocks[index - 1] if index else None
        if block.kind == "heading" or before is None or before.page != block.page:
            border = HEADING
        elif before.kind == "heading":
            border = WORD  # a heading stays with what follows it
        else:
            border = HEADING if block.heading != before.heading else BLOCK
        levels = [(BLANKS, BLANK), (SENTENCES, SENTENCE), (LINES, LINE), (WORDS, WORD)]
        if block.kind in ("code", "list", "table"):
            levels = [(BLANKS, BLANK), (LINES, LINE), (SENTENCES, SENTENCE), (WORDS, WORD)]
        for start, stop, inner in self._split(text, *block.span, levels, width, 0):
            yield Piece(start, stop, border if inner is None else inner, index)

    def _split(
        self,
        text: str,
        start: int,
        stop: int,
        levels: list[tuple[re.Pattern[str], int]],
        width: Callable[[int, int], int],
        depth: int,
    ) -> Iterator[tuple[int, int, int | None]]:
        """Cut `text[start:stop]` at the first two levels always (fine pieces make good overlaps), at the lower ones
        only where a piece is larger than `size`. The first piece has no border of its own (None)."""
        start, stop = strip(text, start, stop)
        if start == stop:
            return
        if depth >= 2 and width(start, stop) <= self.size:
            yield start, stop, None
            return
        if depth == len(levels):  # one word without spaces, larger than a chunk
            at = start
            while at < stop:
                end = min(stop, at + max(1, self.size * (stop - at) // max(1, width(at, stop))))
                while end > at + 1 and width(at, end) > self.size:
                    end = at + max(1, (end - at) // 2)
                yield at, end, None if at == start else WORD
                at = end
            return
        pattern, strength = levels[depth]
        cuts = [start, *(m.end() for m in pattern.finditer(text, start, stop) if start < m.end() < stop), stop]
        if depth == len(levels) - 1:
            cuts = self._fill(cuts, width)
        for a, b in pairwise(cuts):
            for i, (left, right, border) in enumerate(self._split(text, a, b, levels, width, depth + 1)):
                inner = strength if i == 0 and a != start else border
                yield left, right, inner

    def _fill(self, cuts: list[int], width: Callable[[int, int], int]) -> list[int]:
        """Words are too fine to be pieces: join them up to a quarter of a chunk."""
        kept = [cuts[0]]
        for before, cut in pairwise(cuts[1:]):
            if width(kept[-1], cut) > self.size // 4:
                kept.append(before)
        return [*kept, cuts[-1]] if len(cuts) > 1 else cuts

    def _pack(self, pieces: list[Piece], width: Callable[[int, int], int]) -> Iterator[Span]:
        """Indexes of the first and the last piece of each chunk."""
        first, covered = 0, 0  # pieces before `covered` are already in a chunk
        while covered < len(pieces):
            start, end = pieces[first].start, first + 1
            while end < len(pieces) and width(start, pieces[end].stop) <= self.size:
                if pieces[end].border == HEADING and end > covered and self._enough(pieces, start, end, width):
                    break
                end += 1
            if end < len(pieces) and pieces[end].border != HEADING:
                half = [
                    i
                    for i in range(max(first, covered) + 1, end + 1)
                    if width(start, pieces[i - 1].stop) * 2 >= self.size or pieces[i].border == HEADING
                ]
                end = max(half, key=lambda i: (pieces[i].border, i), default=end)
            end = max(end, covered + 1)
            yield first, end - 1
            covered = first = end
            if end < len(pieces) and pieces[end].border < HEADING:
                first = self._back(pieces, end, width)

    def _enough(self, pieces: list[Piece], start: int, end: int, width: Callable[[int, int], int]) -> bool:
        return width(start, pieces[end - 1].stop) >= self.least

    def _back(self, pieces: list[Piece], end: int, width: Callable[[int, int], int]) -> int:
        """Where the chunk after `end` begins: earlier by at most `overlap`, in the same section, and so that the
        piece at `end` still fits."""
        first = end
        while first > 1 and pieces[first].border < HEADING:
            start = pieces[first - 1].start
            if width(start, pieces[end - 1].stop) > self.overlap or width(start, pieces[end].stop) > self.size:
                break
            first -= 1
        return first

    def _chunk(self, doc: Doc, blocks: list[Block], pieces: list[Piece]) -> Chunk:
        span = (pieces[0].start, pieces[-1].stop)
        text = doc.text[span[0] : span[1]]
        block = next((blocks[p.block] for p in pieces if blocks[p.block].kind != "heading"), blocks[pieces[0].block])
        name = f"{doc.path}\0{span[0]}\0{span[1]}\0{text}".encode("utf-8", "surrogatepass")
        return Chunk(
            id=hashlib.blake2b(name, digest_size=10).hexdigest(),
            document=doc.path,
            text=text,
            span=span,
            heading=block.heading,
            page=block.page,
            context=context(doc.title, block.heading),
        )


def context(title: str, heading: tuple[str, ...]) -> str:
    """Title and heading path as one line; a title that is the first heading is said once."""
    names = [title, *(heading[1:] if heading and heading[0] == title else heading)]
    return " > ".join(n for n in names if n)[:CONTEXT]


def covering(doc: Doc) -> list[Block]:
    """The document's blocks, in order, without overlaps, with a paragraph for every gap that has text in it."""
    blocks: list[Block] = []
    at = 0
    for block in sorted(doc.blocks, key=lambda b: b.span):
        begin, end = max(block.span[0], at), min(block.span[1], len(doc.text))
        if doc.text[at:begin].strip():
            last = blocks[-1] if blocks else None
            blocks.append(
                Block((at, begin), "paragraph", last.heading if last else (), last.page if last else block.page)
            )
        if begin < end and doc.text[begin:end].strip():
            blocks.append(Block((begin, end), block.kind, block.heading, block.page))
        at = max(at, end)
    if doc.text[at:].strip():
        last = blocks[-1] if blocks else None
        blocks.append(
            Block((at, len(doc.text)), "paragraph", last.heading if last else (), last.page if last else None)
        )
    return blocks


def strip(text: str, start: int, stop: int) -> Span:
    """The span without the white space at its ends, except the indent of its first line (code needs it)."""
    stop = start + len(text[start:stop].rstrip())
    begin = stop - len(text[start:stop].lstrip())
    line = text.rfind("\n", start, begin) + 1
    return (max(line, start) if line or start == 0 or text[start - 1] == "\n" else begin, stop)


def measure(text: str) -> Callable[[int, int], int]:
    """`width(start, stop)` of spans of `text`: characters, a wide one counted four times."""
    if text.isascii() or max(text) < "\u0e00":
        return lambda start, stop: stop - start
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    wide = np.zeros(len(points), np.bool_)
    for low, high in WIDE:
        wide |= (points >= low) & (points <= high)
    sums = array("i", np.concatenate([[0], np.cumsum(1 + 3 * wide.astype(np.int32))]).astype(np.int32).tobytes())
    return lambda start, stop: sums[stop] - sums[start]
