"""HTML by selectolax (Lexbor, a WHATWG parser): the main text with its headings, lists, tables and code.

Left out: what is not text to read (scripts, styles, forms), what stands on every page (navigation, header, footer,
aside) and what is hidden. When a page marks its main part (`main`, `article`, `role=main`), only that is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from idiolect.retrieval.load import FORMATS, stem_title
from idiolect.retrieval.load.compose import Composer
from idiolect.retrieval.load.encoding import decode
from idiolect.retrieval.types import Doc

VERSION = 2
CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
DROPPED = (
    "script, style, noscript, template, nav, footer, aside, form, button, select, svg, iframe, object, canvas, audio, "
    "video, dialog, [hidden], [aria-hidden=true], [role=navigation], [role=banner], [role=contentinfo], [role=search], "
    "a.headerlink, a.header-anchor, a.anchorjs-link"  # the pilcrow that documentation tools put behind a heading
)
HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
LISTS, ITEMS = frozenset(("ul", "ol", "dl", "menu")), frozenset(("li", "dt", "dd"))
LAYOUT = "table table, h1, h2, h3, h4, h5, h6, ul, ol, dl, pre"  # in a table: it arranges the page, it is no data
BLOCKS = frozenset(
    (
        *("address", "article", "blockquote", "body", "center", "details", "div", "fieldset", "figcaption", "figure"),
        *("header", "hr", "html", "main", "p", "section", "summary", "caption", "legend"),
        *("table", "tr", "td", "th"),
    )
)


class Reader:
    suffixes = FORMATS["html"]

    def __call__(self, file: Path, path: str) -> Doc:
        from selectolax.lexbor import LexborHTMLParser

        raw = file.read_bytes()
        declared = CHARSET.search(raw[:4096])
        text = decode(raw, path, declared.group(1).decode("ascii", "ignore") if declared else None)
        tree = LexborHTMLParser(text)
        titled = tree.css_first("title")
        title = titled.text(strip=True) if titled is not None else ""
        out = _Walk()
        body = tree.body
        if body is not None:
            for node in body.css(DROPPED):
                node.decompose()
            for node in body.css("header"):
                if node.css_first("h1") is None:
                    node.decompose()
            out.walk(_main(body))
        return out.compose.doc(path, title or out.compose.first_heading or stem_title(path), "html")


def _main(body: Any) -> Any:
    """The part that the page itself calls its main one, if that holds at least a third of the text."""
    size = len(body.text())
    for selector in ("main", "[role=main]", "article"):
        found = body.css(selector)
        if len(found) == 1 and len(found[0].text()) * 3 >= size:
            return found[0]
    return body


class _Walk:
    """Depth first without recursion (pages nest thousands deep); inline text gathers until a block ends it."""

    def __init__(self) -> None:
        self.compose = Composer()
        self._inline: list[str] = []
        self._items: list[str] = []  # lines of the list that is open
        self._lists: list[str] = []  # tags of the open lists, outermost first

    def walk(self, root: Any) -> None:
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            node, closing = stack.pop()
            tag = node.tag
            if closing:
                self._close(tag)
            elif tag == "-text":
                self._inline.append(node.text_content or "")
            elif tag == "br":
                self._inline.append("\0")
            elif tag in HEADINGS:
                self._flush()
                self._end_list()
                self.compose.heading(HEADINGS[tag], node.text())
            elif tag == "pre":
                self._flush()
                self._end_list()
                self.compose.add("code", node.text())
            elif tag == "table" and node.css_first(LAYOUT) is None:
                self._flush()
                self._end_list()
                self._table(node)
            elif not tag.startswith(("-", "!", "_")):
                if tag in BLOCKS or tag in ITEMS or tag in LISTS:
                    self._flush()
                    if tag in LISTS:
                        self._lists.append(tag)
                    stack.append((node, True))
                child = node.last_child
                while child is not None:
                    stack.append((child, False))
                    child = child.prev
        self._flush()
        self._end_list()

    def _close(self, tag: str) -> None:
        self._flush()
        if tag in LISTS and self._lists:
            self._lists.pop()
            if not self._lists:
                self._end_list()

    def _flush(self) -> None:
        """End the inline text: a line of the open list, or a paragraph."""
        lines = ["".join(self._inline)] if "\0" not in self._inline else "".join(self._inline).split("\0")
        text = "\n".join(line for line in (" ".join(part.split()) for part in lines) if line)
        self._inline = []
        if not text:
            return
        if self._lists:
            self._items.append("  " * (len(self._lists) - 1) + "- " + text)
        else:
            self.compose.add("paragraph", text)

    def _end_list(self) -> None:
        self.compose.add("list", "\n".join(self._items))
        self._items = []

    def _table(self, table: Any) -> None:
        """Caption and rows as lines, cells separated by bars."""
        rows = [" ".join(c.text(separator=" ").split()) for c in table.css("caption")]
        for row in table.css("tr"):
            cells = [" ".join(cell.text(separator=" ").split()) for cell in row.css("th, td")]
            if any(cells):
                rows.append(" | ".join(cells))
        self.compose.add("table", "\n".join(row for row in rows if row))
