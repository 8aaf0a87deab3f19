"""Plain text: paragraphs at blank lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from idiolect.retrieval.load import FORMATS, stem_title
from idiolect.retrieval.load.encoding import decode
from idiolect.retrieval.types import Block, Doc

VERSION = 1
PARAGRAPH = re.compile(r"\S(?:.*\S)?(?:[^\S\n]*\n[^\S\n]*\S(?:.*\S)?)*")


class Reader:
    suffixes = FORMATS["text"]

    def __call__(self, file: Path, path: str) -> Doc:
        text = decode(file.read_bytes(), path)
        return Doc(path, text, tuple(paragraphs(text)), stem_title(path), "text")


def paragraphs(text: str, base: int = 0) -> Iterator[Block]:
    """A block for each run of lines without a blank one, `base` characters into the document."""
    for match in PARAGRAPH.finditer(text):
        yield Block((base + match.start(), base + match.end()), "paragraph")
