"""Where sentences begin and end, in running text and in Markdown.

Wikimedia's sentencex finds the boundaries inside a paragraph (abbreviation lists of many languages, the full stops of
all scripts). Around it: paragraphs, headings, list items and code lines each end a sentence; and a boundary inside an
identifier, an address or a quotation is taken back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import sentencex

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s|\s{0,3}(=+|-{2,}|\*{3,}|_{3,})\s*$|\s*\|")  # and rules, and table rows
_ITEM = re.compile(r"\s*(?:[-*+•‣◦·–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+(?=\S)|\s*>\s?")
_CLOSERS = "*_`~)]}\"'»”’›"
_STOPS = ".!?…"
# Abbreviations that are no end of a sentence and that sentencex's English list lacks.
_ABBREVIATION = re.compile(
    r"(?<!\w)(?:approx|resp|ca|cca|incl|excl|max|min|temp|tel|ext|dept|est|ed|eds|ch|chap|eq|eqs|figs|tab|refs?|para|"
    r"paras|art|cl|sect|pp|vol|vols|nos?|op|cit|al|cf|viz|misc|orig|seq|suppl)\.$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\s*(?:と|って|という|とは|との|などと)")  # Japanese: "..." is what somebody said or thought
_ASIDE = re.compile(r"[.!?][)\]]\s+(?=[\w\"“‘(])")
_SPACELESS = "\u2e80"  # from here on scripts that put no space between sentences
_SURROGATE = re.compile("[\ud800-\udfff]")


def sentences(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Character spans of the sentences of `text`, in order, without the space around them.

    The spans do not overlap and what lies between them is only white space. A list item keeps its marker, a heading
    its signs. `language` (ISO 639-1) chooses the abbreviations; full stops of all scripts count in every language.
    """
    found: list[tuple[int, int]] = []
    for start, end in _blocks(text):
        if _HEADING.match(text, start, end):
            cuts: list[int] = []
        else:
            marker = _ITEM.match(text, start, end)
            cuts = _cuts(text, marker.end() if marker else start, end, language)
        for a, b in zip([start, *cuts], [*cuts, end], strict=True):
            piece = text[a:b]
            if stripped := piece.strip():
                left = a + len(piece) - len(piece.lstrip())
                found.append((left, left + len(stripped)))
    return found


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of text that no sentence crosses: paragraphs, headings, list items, table rows, lines of code."""
    start = 0
    fenced = False
    alone = False  # the line before stands alone
    for match in _LINE.finditer(text):
        line = match.group()
        fence = bool(_FENCE.match(line))
        single = fenced or fence or bool(_HEADING.match(line))
        if not line.strip() or single or alone or _ITEM.match(line):
            if match.start() > start:
                yield start, match.start()
            start = match.start()
        fenced ^= fence
        alone = single or not line.strip()
    if start < len(text):
        yield start, len(text)


def _cuts(text: str, start: int, end: int, language: str) -> list[int]:
    """Where to cut `text[start:end]`: positions after a sentence's last sign."""
    # Lone surrogates are no text to the library; a carriage return is a space. Both keep the length.
    block = _SURROGATE.sub("\ufffd", text[start:end]).replace("\r", " ").replace("\n", " ")
    ends = {boundary["end_index"] for boundary in sentencex.get_sentence_boundaries(language, block)}
    cuts = {cut for at in ends if (cut := _settle(block, at)) is not None}
    begins = [0, *sorted(cuts)]
    for match in _ASIDE.finditer(block):  # (A sentence in brackets.) Then another.
        opened = max(b for b in begins if b <= match.start())
        if block[opened:].lstrip()[:1] in ("(", "["):
            cuts.add(match.end())
    return [start + cut for cut in sorted(cuts) if 0 < cut < len(block)]


def _settle(block: str, at: int) -> int | None:
    """The place where a boundary that the library found at `at` belongs; None: nowhere."""
    if at >= len(block):
        return None
    body = block[:at].rstrip()
    if _ABBREVIATION.search(body[-12:]):
        return None
    if body[-1:] in "」』”’）" and _QUOTED.match(block, at):
        return None
    if len(body) < at or block[at].isspace():  # there is a space: a plain boundary
        return at
    if body[-1:] not in _STOPS + _CLOSERS or block[at] >= _SPACELESS:
        return at
    past = at
    while past < len(block) and block[past] in _CLOSERS:
        past += 1
    if past == len(block) or block[past].isspace():
        return past
    return None  # inside an identifier, an address, a number
