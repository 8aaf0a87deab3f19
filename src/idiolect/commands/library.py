"""`idiolect index` and `idiolect search`: the documents without the language model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json, check_folder
from idiolect.core.errors import BadInput

if TYPE_CHECKING:
    from idiolect.retrieval import Library
    from idiolect.retrieval.types import Embedder

Encoder = Annotated[str, Parameter(help="The model that makes vectors of texts; none: search by words only.")]
EMBEDDED = "embedded"


def index(
    folder: Path,
    /,
    *,
    encoder: Encoder = EMBEDDED,
    index: Path | None = None,
    json: Json = False,
) -> int:
    """Bring a folder's index up to date and say what was found. Only what changed is read again.

    Exit code 1 when a file could not be read (the others are indexed).

    Parameters
    ----------
    folder
        The folder (or one file).
    index
        Where the index is kept.
    """
    check_folder(folder)
    with _open(folder, encoder, index) as library:
        report = library.sync()
        if json:
            show.emit({"folder": library.folder, "report": asdict(report), "passages": len(library)})
        else:
            counts = f"{len(report.added)} added, {len(report.changed)} changed, {len(report.removed)} removed"
            print(f"{library.folder}: {counts}, {report.unchanged} unchanged")
            print(f"{len(library)} passages, {report.seconds:.1f} s")
            for word, files in (("not read", report.failed), ("passed over", report.skipped)):
                for path, reason in sorted(files.items()):
                    print(f"  {word}: {path}: {reason}")
        return 1 if report.failed else 0


def search(
    folder: Path,
    query: str,
    /,
    *,
    k: Annotated[int, Parameter(name=["-k", "--top"], validator=validators.Number(gte=1))] = 5,
    how: Literal["hybrid", "bm25", "dense"] = "hybrid",
    stale: Flag = False,
    encoder: Encoder = EMBEDDED,
    index: Path | None = None,
    json: Json = False,
) -> int:
    """Find the passages of a folder that answer a query, best first. Exit code 1 when there are none.

    Parameters
    ----------
    folder
        The folder (or one file).
    query
        The words or the question.
    k
        How many passages.
    how
        bm25 counts words, dense compares meanings, hybrid does both.
    stale
        Search the index as it is, without looking for changed files.
    index
        Where the index is kept.
    """
    if not query.strip():
        raise BadInput("the query is empty", hint='write: idiolect search FOLDER "..."')
    check_folder(folder)
    with _open(folder, "none" if how == "bm25" else encoder, index) as library:
        if not stale:
            library.sync()
        library.require()
        found = library.search(query, k, how)
        if json:
            from idiolect.gateway import wire

            show.emit({"folder": library.folder, "query": query, "passages": [wire.passage(p) for p in found]})
        for rank, passage in enumerate(found if not json else (), 1):
            scores = "  ".join(f"{name} {score:.3g}" for name, score in passage.scores.items())
            where = [passage.document, *([f"page {passage.page}"] if passage.page else []), *passage.heading]
            print(f"{rank}. {' > '.join(where)}   ({scores})")
            print("   " + " ".join(passage.text.split())[:300] + "\n")
        return 0 if found else 1


def _open(folder: Path, encoder: str, index: Path | None) -> Library:
    from idiolect.retrieval import Library

    return Library.open(folder, embedder=_embedder(encoder), state=index)


def _embedder(source: str) -> Embedder | None:
    if source == "none":
        return None
    from idiolect import models
    from idiolect.engine import Embedder

    model: Any = models.load(models.EMBEDDED_ENCODER if source == EMBEDDED else source)
    return Embedder(model)
