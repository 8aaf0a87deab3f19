"""PDF by PDFium (pypdfium2), page by page, under the headings of the document's outline.

PDFium is not thread-safe, so one lock guards it. What the lines mean is guessed in pdf_lines.py. Words that were
hyphenated at a line's end are whole again.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

from idiolect.core.errors import CorruptFile
from idiolect.retrieval.load import FORMATS, stem_title
from idiolect.retrieval.load.compose import Composer
from idiolect.retrieval.load.pdf_lines import paragraphs, strip_furniture
from idiolect.retrieval.types import Doc

VERSION = 2
LOCK = threading.Lock()
HYPHEN = re.compile("(?:\\x02|\\ufffe|\\u00ad)\n?")  # PDFium marks a line's own hyphen with one of these
LEADERS = re.compile(r"(?:[^\S\n]?\.){5,}")  # the dots of a table of contents
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Reader:
    suffixes = FORMATS["pdf"]

    def __call__(self, file: Path, path: str) -> Doc:
        import pypdfium2

        with LOCK:
            raw = file.read_bytes()
            if b"%PDF-" not in raw[:1024]:
                raise CorruptFile(f"{path} is not a PDF, whatever its name says")
            try:
                pdf = pypdfium2.PdfDocument(raw)
                try:
                    if _cut(raw):  # PDFium mends it, and pages are missing without a word
                        raise CorruptFile(
                            f"{path} is truncated: the end of the PDF is missing, {len(pdf)} pages could be found",
                            hint="fetch or save it again",
                        )
                    return _read(pdf, path)
                finally:
                    pdf.close()
            except pypdfium2.PdfiumError as error:
                raise CorruptFile(*_reason(str(error), raw, path)) from None


def _cut(raw: bytes) -> bool:
    """Neither of the two marks that close every PDF stands near the end."""
    return b"%%EOF" not in raw[-2048:] and b"startxref" not in raw[-2048:]


def _reason(message: str, raw: bytes, path: str) -> tuple[str]:
    if "password" in message.lower() or "security" in message.lower():
        return (f"{path} is encrypted: it needs a password",)
    if _cut(raw):
        return (f"{path} is truncated: the end of the PDF is missing",)
    return (f"{path} is a damaged PDF ({message.rstrip('.')})",)


def _read(pdf: Any, path: str) -> Doc:
    out = Composer()
    entries = _outline(pdf)
    for number, lines in enumerate(strip_furniture([_lines(pdf[i]) for i in range(len(pdf))])):
        here = entries.get(number, [])
        levels = {title: level for level, title in here}
        found = list(paragraphs(lines, [title for _, title in here]))
        named = {title for _, title in found if title is not None}
        for level, title in here:
            if title not in named and any(_opens(text, title) for text, _ in found):
                named.add(title)  # its words stand inside a line: it holds for the page
                out.heading(level, title, shown=False)
        for text, entry in found:
            if entry is None:
                out.add("paragraph", text, page=number + 1)
            else:
                out.heading(levels[entry], entry, page=number + 1)
        for level, title in here:  # its words were not found: it holds from the next page on
            if title not in named:
                out.heading(level, title, shown=False)
    own = str(pdf.get_metadata_dict().get("Title") or "")
    return out.doc(path, own.strip() or stem_title(path), "pdf")


def _lines(page: Any) -> list[str]:
    try:
        layer = page.get_textpage()
        try:
            text = layer.get_text_bounded()
        finally:
            layer.close()
    finally:
        page.close()
    text = CONTROL.sub("", HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return LEADERS.sub(" ...", text).split("\n")


def _outline(pdf: Any) -> dict[int, list[tuple[int, str]]]:
    """Outline entries (level, title) by page; none when the document has none or a broken one."""
    entries: dict[int, list[tuple[int, str]]] = {}
    try:
        for item in pdf.get_toc(max_depth=6):
            target, title = item.get_dest(), " ".join(item.get_title().split())
            index = target.get_index() if target is not None else None
            if index is not None and title:
                entries.setdefault(index, []).append((item.level + 1, title))
    except Exception:  # an outline is a help, not a condition: without it the text is still whole
        return entries
    return entries


def _opens(paragraph: str, title: str) -> bool:
    """Whether the paragraph begins with an outline entry's words, numbering aside."""
    line = "".join(paragraph[: len(title) + 40].split()).casefold()
    return "".join(title.split()).casefold() in line
