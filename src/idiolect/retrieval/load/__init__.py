"""Files to `Doc`s: one loader per format, chosen by the file's name.

A loader raises `IdiolectError` with a reason that a person can read; it never returns half of a document. Loaders are
imported when first used, so that a folder of text needs no PDF library.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from idiolect.core.errors import BadInput, CorruptFile, IdiolectError, NotFound
from idiolect.retrieval.types import Doc, Loader

FORMATS: dict[str, tuple[str, ...]] = {
    "text": (".txt", ".text", ".log", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv", ".srt", ".vtt"),
    "markdown": (".md", ".markdown", ".mdown", ".mkd"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
    "code": (
        *(".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".groovy", ".go"),
        *(".rs", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".swift", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".sql"),
        *(".sh", ".bash", ".zsh", ".ps1", ".ex", ".exs", ".erl", ".hs", ".ml", ".clj", ".dart", ".zig", ".nim"),
        *(".css", ".scss", ".vue", ".svelte", ".proto", ".tf", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".json"),
    ),
}
BARE_NAMES = {  # files without a suffix that are known to be text
    **dict.fromkeys(("readme", "license", "licence", "copying", "notice", "authors", "changelog", "changes"), "text"),
    **dict.fromkeys(("contributing", "todo", "news", "install"), "text"),
    **dict.fromkeys(("makefile", "dockerfile", "containerfile", "justfile", "rakefile", "gemfile"), "code"),
}
SUFFIXES = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}

SURROGATE = re.compile("[\ud800-\udfff]")


def format_of(path: str) -> str | None:
    """The format that a file's name says, None for one that no loader reads."""
    name = PurePosixPath(path)
    return SUFFIXES.get(name.suffix.lower()) or BARE_NAMES.get(name.name.lower())


def loader(format: str) -> Loader:
    """The loader of a format in `FORMATS`."""
    return importlib.import_module(f"idiolect.retrieval.load.{format}").Reader()


def fingerprint(format: str) -> str:
    """Changes when the same file would give another `Doc`."""
    return f"{format}/{importlib.import_module(f'idiolect.retrieval.load.{format}').VERSION}"


def load(file: Path, path: str) -> Doc:
    """Read one file. `path` is its name in the library. Every failure is an `IdiolectError`."""
    name = format_of(path)
    if name is None:
        raise BadInput(f"{path} is not a document type that can be read", hint=f"known: {', '.join(sorted(SUFFIXES))}")
    try:
        return _clean(loader(name)(file, path))
    except IdiolectError:
        raise
    except FileNotFoundError:
        raise NotFound(f"{path} is gone") from None
    except PermissionError:
        raise BadInput(f"{path}: no permission to read it", hint="change its permissions or exclude it") from None
    except RecursionError:
        raise CorruptFile(f"{path} is nested too deeply to be read") from None
    except MemoryError:
        raise CorruptFile(f"{path} needs more memory than there is") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None


def _clean(doc: Doc) -> Doc:
    """Lone surrogates cannot be written as UTF-8; each becomes the replacement character, so that spans stay true."""
    if not SURROGATE.search(doc.text + doc.title):
        return doc
    blocks = tuple(replace(b, heading=tuple(SURROGATE.sub("\ufffd", h) for h in b.heading)) for b in doc.blocks)
    return replace(doc, text=SURROGATE.sub("\ufffd", doc.text), title=SURROGATE.sub("\ufffd", doc.title), blocks=blocks)


def stem_title(path: str) -> str:
    """A title from a file's name, for documents that carry none."""
    stem = PurePosixPath(path).stem
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) or stem
