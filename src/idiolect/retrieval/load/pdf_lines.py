"""What the lines of a PDF's pages mean: page furniture, headings, paragraphs.

A PDF knows where glyphs stand and nothing else. What repeats at the edge of many pages (running titles) and bare page
numbers are not text; a line that says what the outline says is a heading; a line that reaches the page's right edge
goes on in the next one; one that ends a sentence well before the edge ends a paragraph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

SENTENCE_END = re.compile(r"[.!?:。！？]['\"”’)\]]*$")
SHORT = 0.8  # of the page's usual line
NUMBER = re.compile(
    r"(page|seite|p\.)?\s*[-–—(\[]?\s*(\d{1,4}|[ivxlc]{1,7})\s*[-–—)\]]?(\s*(of|/|von)\s*\d{1,4})?", re.IGNORECASE
)
CONTENTS = re.compile(r" \.\.\. ?[\divxlc]+$")  # a line of a table of contents
COMMON = 3  # pages on which a line must stand at the edge to be a running title ...
SHARE = 0.02  # ... and this share of all pages
WIDE = ("\u3040", "\u9fff")  # scripts that put no space between words


def strip_furniture(pages: Sequence[list[str]]) -> list[list[str]]:
    """Pages as lines, without page numbers and running titles. A running title is what the same edge of several pages
    says, digits aside."""
    edges: Counter[tuple[int, str]] = Counter()
    for lines in pages:
        for side in (0, -1):
            if len(lines) > 2:
                edges[side, _shape(lines[side])] += 1
    least = max(COMMON, SHARE * len(pages))
    out = []
    for page in pages:
        lines = list(page)
        for _ in range(2):  # a number may stand beside, above or below the title
            for side in (0, -1):
                if len(lines) > 1 and (
                    NUMBER.fullmatch(lines[side].strip()) or edges[side, _shape(lines[side])] >= least
                ):
                    del lines[side]
        out.append(lines)
    return out


def _shape(line: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", " ".join(line.split()).casefold())


def same_title(line: str, title: str) -> bool:
    """Whether a line is an outline entry's words, numbering aside."""
    a, b = (
        "".join(re.sub(r"^[\W\d_]*(chapter|appendix|kapitel)?[\W\d_]*", "", t.casefold()).split())
        for t in (line, title)
    )
    return bool(b) and a == b


def paragraphs(lines: Sequence[str], titles: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """(text, the entry of `titles` that it is, or None) in reading order."""
    usual = sorted(len(line) for line in lines if line.strip())
    edge = SHORT * usual[int(0.9 * (len(usual) - 1))] if usual else 0
    left, held = list(titles), ""
    for line in (line.strip() for line in lines):
        heading = next((t for t in left if same_title(line, t)), None) if line else None
        if held and (not line or heading is not None):
            yield held, None
            held = ""
        if heading is not None:
            left.remove(heading)
            yield line, heading
        elif line:
            held = f"{held}{line}" if not held or held[-1] == "\n" else held + _joint(held, line) + line
            if len(line) < edge or CONTENTS.search(line):
                if SENTENCE_END.search(line):
                    yield held, None
                    held = ""
                else:
                    held += "\n"
    if held.strip():
        yield held.rstrip(), None


def _joint(before: str, after: str) -> str:
    """What stands between two lines of one paragraph."""
    return "" if WIDE[0] <= before[-1] <= WIDE[1] and WIDE[0] <= after[0] <= WIDE[1] else " "
