"""Puts a document's text together from the pieces that a parser finds, and keeps the path of headings."""

from __future__ import annotations

from typing import Literal

from idiolect.retrieval.types import Block, Doc

Kind = Literal["heading", "paragraph", "list", "code", "table"]


class Composer:
    """`add` pieces in reading order; `doc` gives the document. Pieces are separated by a blank line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []  # (level, title), outermost first

    def add(self, kind: Kind, text: str, *, page: int | None = None) -> None:
        """A piece that is not a heading. Empty ones are dropped."""
        text = text.strip("\n").rstrip()
        if text.strip():
            self._append(kind, text, page)

    def heading(self, level: int, text: str, *, page: int | None = None, shown: bool = True) -> None:
        """A heading of `level` 1 (outermost) and up; it holds until one of the same or a lower level. One that is
        not `shown` only changes the path (an outline entry whose words already stand in the text)."""
        text = " ".join(text.split())
        if text:
            self._path = [(above, name) for above, name in self._path if above < level] + [(level, text)]
            if shown:
                self._append("heading", text, page)

    def _append(self, kind: Kind, text: str, page: int | None) -> None:
        if self._parts:
            self._parts.append("\n\n")
            self._length += 2
        span = (self._length, self._length + len(text))
        self._blocks.append(Block(span, kind, tuple(name for _, name in self._path), page))
        self._parts.append(text)
        self._length += len(text)

    def doc(self, path: str, title: str, format: str) -> Doc:
        return Doc(path, "".join(self._parts), tuple(self._blocks), " ".join(title.split()), format)

    @property
    def first_heading(self) -> str:
        return next((b.heading[-1] for b in self._blocks if b.kind == "heading"), "")
