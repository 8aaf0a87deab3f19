"""DOCX with the standard library: a ZIP of XML, of which only paragraphs, headings, lists, tables and notes are read.

Guards: the archive's parts are read up to a fixed size whatever they claim (a small file can unpack to gigabytes),
and a document type declaration, the way to expand entities without end, is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from idiolect.core.errors import CorruptFile
from idiolect.retrieval.load import FORMATS, stem_title
from idiolect.retrieval.load.compose import Composer
from idiolect.retrieval.types import Doc

VERSION = 1
MAX_PART = 128 << 20  # bytes of one unpacked part
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"
OLE = b"\xd0\xcf\x11\xe0"  # what encrypted and pre-2007 Office files begin with


class Reader:
    suffixes = FORMATS["docx"]

    def __call__(self, file: Path, path: str) -> Doc:
        with file.open("rb") as opened:
            if opened.read(4) == OLE:
                raise CorruptFile(f"{path} is encrypted or in the old .doc format", hint="save it as plain .docx")
            try:
                with zipfile.ZipFile(opened) as archive:
                    return _read(archive, path)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
                raise CorruptFile(f"{path} is a damaged or truncated DOCX ({error})") from None
            except RuntimeError as error:  # zipfile's word for an encrypted member
                raise CorruptFile(f"{path} cannot be unpacked ({error})") from None
            except ElementTree.ParseError as error:
                raise CorruptFile(f"{path} holds malformed XML ({error})") from None


def _read(archive: zipfile.ZipFile, path: str) -> Doc:
    names = set(archive.namelist())
    if "word/document.xml" not in names:
        raise CorruptFile(f"{path} is not a Word document, whatever its name says")
    levels = _levels(_part(archive, "word/styles.xml", path)) if "word/styles.xml" in names else {}
    out = Composer()
    body = _part(archive, "word/document.xml", path).find(f"{W}body")
    if body is not None:
        _body(body, levels, out)
    for notes in ("word/footnotes.xml", "word/endnotes.xml"):
        if notes in names:
            for note in _part(archive, notes, path):
                out.add("paragraph", "\n".join(_text(p) for p in note.iter(f"{W}p")))
    title = ""
    if "docProps/core.xml" in names:
        title = _part(archive, "docProps/core.xml", path).findtext(DC_TITLE) or ""
    return out.doc(path, title.strip() or out.first_heading or stem_title(path), "docx")


def _part(archive: zipfile.ZipFile, name: str, path: str) -> ElementTree.Element:
    with archive.open(name) as part:
        raw = part.read(MAX_PART + 1)
    if len(raw) > MAX_PART:
        raise CorruptFile(f"{path} unpacks to more than {MAX_PART >> 20} MB", hint="it may be a decompression bomb")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise CorruptFile(f"{path} declares XML entities, which a Word document never does")
    return ElementTree.fromstring(raw.replace(STRICT[1:-1].encode(), W[1:-1].encode()))


def _levels(styles: ElementTree.Element) -> dict[str, int]:
    """Heading level of each style id: by its outline level, or by its English built-in name."""
    levels = {}
    for style in styles.iter(f"{W}style"):
        name = style.find(f"{W}name")
        words = (name.get(f"{W}val", "") if name is not None else "").lower()
        outline = style.find(f"{W}pPr/{W}outlineLvl")
        if outline is not None and (outline.get(f"{W}val") or "9").isdigit():
            level = int(outline.get(f"{W}val") or 9) + 1
        elif words == "title":
            level = 1
        elif words.startswith("heading ") and words[8:].isdigit():
            level = int(words[8:])
        else:
            continue
        if level <= 9:
            levels[style.get(f"{W}styleId", "")] = level
    return levels


def _body(body: ElementTree.Element, levels: dict[str, int], out: Composer) -> None:
    items: list[str] = []
    for element in _blocks(body):
        if element.tag == f"{W}p":
            style = element.find(f"{W}pPr/{W}pStyle")
            name = style.get(f"{W}val", "") if style is not None else ""
            text = _text(element)
            if element.find(f"{W}pPr/{W}numPr") is not None and name not in levels:
                if text.strip():
                    items.append(f"- {text.strip()}")
                continue
            out.add("list", "\n".join(items))
            items = []
            if name in levels:
                out.heading(levels[name], text)
            else:
                out.add("paragraph", text)
        else:
            out.add("list", "\n".join(items))
            items = []
            out.add("table", "\n".join(_rows(element)))
    out.add("list", "\n".join(items))


def _blocks(parent: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Paragraphs and tables in order, also those inside content controls."""
    for child in parent:
        if child.tag in (f"{W}p", f"{W}tbl"):
            yield child
        elif child.tag in (f"{W}sdt", f"{W}sdtContent", f"{W}ins", f"{W}customXml", f"{W}smartTag"):
            yield from _blocks(child)


def _rows(table: ElementTree.Element) -> Iterator[str]:
    for row in table.iter(f"{W}tr"):
        cells = [" ".join(" ".join(_text(p) for p in cell.iter(f"{W}p")).split()) for cell in row.findall(f"{W}tc")]
        if any(cells):
            yield " | ".join(cells)


def _text(paragraph: ElementTree.Element) -> str:
    """The words of a paragraph; deleted ones (tracked changes) are not there, they have another tag."""
    parts: list[str] = []
    stack = [paragraph]
    while stack:
        element = stack.pop()
        if element.tag == f"{W}t":
            parts.append(element.text or "")
        elif element.tag == f"{W}tab":
            parts.append("\t")
        elif element.tag in (f"{W}br", f"{W}cr"):
            parts.append("\n")
        elif element.tag == f"{W}noBreakHyphen":
            parts.append("-")
        elif element.tag not in (FALLBACK, f"{W}pPr", f"{W}rPr"):
            stack.extend(reversed(element))
    return "".join(parts)
