"""Source code of many languages: a block per definition, under the names of the definitions around it.

No grammar is parsed. A definition is a line that begins with a language's own keyword for one (`def`, `class`, `fn`,
`func`, `interface`, ...) or looks like a C-family function; what stands deeper belongs to it. Formatted code is
indented by its nesting in nearly every language, and where that guess fails only a heading is wrong: no text is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from idiolect.retrieval.load import FORMATS
from idiolect.retrieval.load.encoding import decode
from idiolect.retrieval.types import Block, Doc

VERSION = 1
DATA = frozenset((".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".css", ".scss"))
MODIFIERS = r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|override|virtual|"
MODIFIERS += r"inline|extern|unsafe|const|open|sealed|data|partial|pub(?:\([\w\s:]+\))?|declare)\s+)*"
KEYWORDS = r"(?:class|interface|struct|enum|union|trait|impl(?:<[^>]*>)?|module|namespace|object|protocol|extension|"
KEYWORDS += r"record|def|defmodule|defp|fn|func|function\*?|fun|sub|proc|procedure|macro_rules!|type)"
NAMED = re.compile(
    rf"^(?P<indent>[ \t]*){MODIFIERS}{KEYWORDS}\s+(?:\([^)\n]*\)\s*)?(?P<name>[\w$.]+(?:::\w+)*[?!]?)", re.MULTILINE
)
ARROW = re.compile(
    rf"^(?P<indent>[ \t]*){MODIFIERS}(?:const|let|var)\s+(?P<name>[\w$]+)\s*=\s*(?:async\s*)?(?:function|\([^)\n]*\)"
    r"\s*(?::[^=\n]+)?=>|[\w$]+\s*=>)",
    re.MULTILINE,
)
C_LIKE = re.compile(
    r"^(?P<indent>[ \t]*)(?!(?:return|else|if|for|while|switch|case|new|throw|delete|goto)\b)"
    r"(?:[\w:<>,*&\[\]~]+[ \t]+)+[*&]*(?P<name>[\w:~]+)\s*\([^;{}]{0,400}\)[^;{}()]{0,80}\{",
    re.MULTILINE,
)
C_FAMILY = frozenset((".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".java", ".php", ".dart", ".zig"))
LEADING = re.compile(r"[ \t]*(?:@|#\[|//|/\*|\*|#|--|;;)")  # decorators, attributes, comments just above


class Reader:
    suffixes = FORMATS["code"]

    def __call__(self, file: Path, path: str) -> Doc:
        text = decode(file.read_bytes(), path)
        suffix = Path(path).suffix.lower()
        return Doc(path, text, tuple(blocks(text, suffix)), path, "code")


def blocks(text: str, suffix: str) -> Iterator[Block]:
    """Blocks that tile the text's lines, each under the path of definitions it stands in."""
    found = [] if suffix in DATA else sorted(_definitions(text, suffix))
    at, stack = 0, list[tuple[int, str]]()  # (indent, name) of the definitions that are open
    for start, indent, name in found:
        begin = _leading(text, start, at)
        yield from _block(text, at, begin, stack)
        stack = [(depth, outer) for depth, outer in stack if depth < indent] + [(indent, name)]
        at = begin
    yield from _block(text, at, len(text), stack)


def _definitions(text: str, suffix: str) -> Iterator[tuple[int, int, str]]:
    """Start of line, indent and name of each definition; one line gives one."""
    seen = set()
    for pattern in (NAMED, ARROW, C_LIKE) if suffix in C_FAMILY else (NAMED, ARROW):
        for match in pattern.finditer(text):
            if match.start() not in seen:
                seen.add(match.start())
                yield match.start(), len(match["indent"].expandtabs(4)), match["name"]


def _leading(text: str, start: int, floor: int) -> int:
    """Where the comment and decorator lines directly above `start` begin."""
    while start > floor:
        above = text.rfind("\n", floor, start - 1) + 1 if start - 1 > floor else floor
        above = max(above, floor)
        if not LEADING.match(text, above, start):
            break
        start = above
    return start


def _block(text: str, start: int, stop: int, stack: list[tuple[int, str]]) -> Iterator[Block]:
    if text[start:stop].strip():
        yield Block((start, stop), "code", tuple(name for _, name in stack))
