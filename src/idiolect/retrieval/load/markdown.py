"""Markdown (CommonMark and tables) by markdown-it-py's tokens and their line maps.

The document's text is the file itself, so that spans point into what the author wrote. YAML front matter stays in
the text (its dates and tags can answer questions) as a table, and its `title` wins over the first heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from idiolect.retrieval.load import FORMATS, stem_title
from idiolect.retrieval.load.encoding import decode
from idiolect.retrieval.types import Block, Doc

VERSION = 1
FRONT = re.compile(r"\A---[^\S\n]*\n(.*?\n)?(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
TITLE = re.compile(r"^title\s*:\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
MARKS = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]+>|[*`]+|(?<!\w)_+|_+(?!\w)")
Kind = Literal["heading", "paragraph", "list", "code", "table"]
KINDS: dict[str, Kind] = {
    "paragraph_open": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "blockquote_open": "paragraph",
    "fence": "code",
    "code_block": "code",
    "html_block": "paragraph",
    "table_open": "table",
}


class Reader:
    suffixes = FORMATS["markdown"]

    def __call__(self, file: Path, path: str) -> Doc:
        text = decode(file.read_bytes(), path)
        front = FRONT.match(text)
        start = front.end() if front else 0
        found = TITLE.search(front.group(1) or "") if front else None
        title = found.group(1).strip("\"'") if found else ""
        blocks = list(structure(text, start))
        if front and front.group(1):
            blocks.insert(0, Block((0, len(front.group().rstrip())), "table"))
        if not title:
            title = next((b.heading[-1] for b in blocks if b.kind == "heading" and b.heading), "")
        return Doc(path, text, tuple(blocks), title or stem_title(path), "markdown")


@cache
def _parser():  # type: ignore[no-untyped-def]  # markdown-it-py is imported only when a Markdown file is met
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline", ignoreInvalid=True)


def structure(text: str, start: int = 0) -> Iterator[Block]:
    """The top-level blocks of `text` from `start` on, each under its path of headings."""
    lines = [start]
    for match in re.finditer("\n", text[start:]):
        lines.append(start + match.end())
    lines.append(len(text))
    path: list[tuple[int, str]] = []  # (level, title)
    tokens = _parser().parse(text[start:])
    for i, token in enumerate(tokens):
        if token.level != 0 or token.map is None or token.nesting < 0:
            continue
        span = _trim(text, lines[token.map[0]], lines[min(token.map[1], len(lines) - 1)])
        if span[0] == span[1]:
            continue
        if token.type == "heading_open":
            level, title = int(token.tag[1:]), plain(tokens[i + 1].content)
            path = [(above, name) for above, name in path if above < level] + ([(level, title)] if title else [])
            yield Block(span, "heading", tuple(name for _, name in path))
        elif token.type in KINDS:
            yield Block(span, KINDS[token.type], tuple(name for _, name in path))


def plain(inline: str) -> str:
    """A heading's words without links, emphasis, code marks and tags."""
    return " ".join(MARKS.sub(lambda m: m.group(1) or "", inline).split())


def _trim(text: str, start: int, stop: int) -> tuple[int, int]:
    piece = text[start:stop]
    stop = start + len(piece.rstrip())
    start += len(piece) - len(piece.lstrip("\n"))
    return (min(start, stop), stop)
