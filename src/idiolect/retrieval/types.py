"""What retrieval is made of: documents, chunks, hits, and the protocols of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from idiolect.core.call import Passage


@dataclass(frozen=True, slots=True)
class Block:
    """A structural piece of a document: its character span in `Doc.text`, what it is, where it stands."""

    span: tuple[int, int]
    kind: Literal["heading", "paragraph", "list", "code", "table"]
    heading: tuple[str, ...] = ()  # the path of headings above it
    page: int | None = None  # 1-based, for paged formats


@dataclass(frozen=True, slots=True)
class Doc:
    """A loaded document. `text` is the extracted text that every span counts in, and that the page shows."""

    path: str  # relative to the folder, "/" as separator
    text: str
    blocks: tuple[Block, ...]
    title: str = ""
    format: str = "text"  # text, markdown, html, pdf, docx, code


class Loader(Protocol):
    """Reads one format. Raises `IdiolectError` (with the reason a person can read) when it cannot."""

    suffixes: tuple[str, ...]

    def __call__(self, file: Path, path: str) -> Doc: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A retrievable piece. `text == doc.text[span[0]:span[1]]`, always; `context` is what rankers may read before it
    (title and heading path)."""

    id: str  # stable: a hash of document path, span and text
    document: str
    text: str
    span: tuple[int, int]
    heading: tuple[str, ...] = ()
    page: int | None = None
    context: str = ""

    def passage(self, score: float, scores: Mapping[str, float]) -> Passage:
        return Passage(self.id, self.document, self.text, self.span, self.heading, self.page, score, dict(scores))


class Chunker(Protocol):
    @property
    def fingerprint(self) -> str:
        """Changes when the same document would be cut differently."""
        ...

    def __call__(self, doc: Doc) -> Iterable[Chunk]: ...


class Embedder(Protocol):
    """Texts to unit vectors. `fingerprint` changes when the same text would get another vector."""

    dim: int
    fingerprint: str

    def __call__(self, texts: Sequence[str], kind: Literal["query", "doc"] = "doc") -> NDArray[np.float32]:
        """[len(texts), dim] float32, L2-normalised."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A row of an index and its score there; higher is better."""

    chunk: str  # chunk id
    score: float


class Index(Protocol):
    """A ranker over chunks with incremental add and delete. Zero-score hits are never returned."""

    def add(self, chunks: Sequence[Chunk]) -> None: ...

    def delete(self, chunk_ids: Iterable[str]) -> int: ...

    def search(self, query: str, k: int) -> list[Hit]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """A line of the ingest ledger."""

    path: str
    state: Literal["indexed", "failed", "empty"]
    bytes: int
    mtime: float
    sha256: str
    chunks: int
    format: str = ""
    title: str = ""
    reason: str = ""  # why it failed, in words


@dataclass(slots=True)
class SyncReport:
    """What one pass over the folder did."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # new path -> old path (in added and removed too)
    unchanged: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # path -> reason
    skipped: dict[str, str] = field(default_factory=dict)  # path -> why it is not a document (binary, too large)
    chunks: int = 0  # written in this pass
    embedded: int = 0  # vectors made in this pass
    bytes: int = 0  # of the files read in this pass
    seconds: float = 0.0
