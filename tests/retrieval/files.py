"""Writes small real files of every format, for the tests beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape


def pdf(pages: list[str], *, outline: list[tuple[str, int]] | None = None, title: str = "") -> bytes:
    """A PDF of text pages in Helvetica (Latin-1), one line per "\\n", with an optional outline (title, page)."""
    objects: list[bytes] = [b"", b""]  # the catalog and the page tree are filled in at the end

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    kids = []
    for text in pages:
        lines = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in text.split("\n")]
        stream = "BT /F1 11 Tf 14 TL 50 780 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        raw = stream.encode("cp1252")
        content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(raw), raw))
        kids.append(
            add(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
                b"/Resources << /Font << /F1 %d 0 R >> >> >>" % (content, font)
            )
        )
    extra = b""
    if outline:
        root = len(objects) + 1
        add(b"")
        first = len(objects) + 1
        for i, (name, page) in enumerate(outline):
            links = b"/Next %d 0 R" % (first + i + 1) if i + 1 < len(outline) else b""
            links += b" /Prev %d 0 R" % (first + i - 1) if i else b""
            item = b"<< /Title (%s) /Parent %d 0 R %s /Dest [%d 0 R /Fit] >>"
            add(item % (name.encode("cp1252"), root, links, kids[page]))
        objects[root - 1] = b"<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count %d >>" % (
            first,
            first + len(outline) - 1,
            len(outline),
        )
        extra = b" /Outlines %d 0 R" % root
    info = add(b"<< /Title (%s) >>" % title.encode("cp1252"))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R%s >>" % extra
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % k for k in kids), len(kids))
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        info,
        start,
    )
    return out


NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def paragraph(text: str, style: str = "", *, item: bool = False) -> str:
    properties = f'<w:pStyle w:val="{style}"/>' if style else ""
    properties += '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>' if item else ""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def table(rows: list[list[str]]) -> str:
    cells = ("".join(f"<w:tc>{paragraph(c)}</w:tc>" for c in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def docx(path: Path, body: str, *, title: str = "", head: str = "") -> Path:
    """A Word file with the given body XML."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="H{n}"><w:name w:val="heading {n}"/></w:style>' for n in (1, 2, 3)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"{head}<w:document {NAMESPACE}><w:body>{body}</w:body></w:document>")
        archive.writestr("word/styles.xml", f"<w:styles {NAMESPACE}>{styles}</w:styles>")
        if title:
            archive.writestr(
                "docProps/core.xml",
                '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"'
                f' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title>'
                "</cp:coreProperties>",
            )
    return path
