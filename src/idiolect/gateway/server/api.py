"""What the page asks for beside OpenAI's endpoints: info, documents, search, conversations, traces, feedback."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.gateway import traces, wire
from idiolect.gateway.app import App
from idiolect.gateway.conversations import new_id
from idiolect.gateway.server.parse import app_of, parse
from idiolect.gateway.server.schema import Strict

router = APIRouter(prefix="/api")


@router.get("/info")
async def info(request: Request) -> dict[str, Any]:
    app = app_of(request)
    documents = await asyncio.to_thread(_counts, app) if app.library is not None else None
    return {
        "version": version("idiolect"),
        "model": app.model_id,
        "models": [
            {"id": s.id, "kind": s.kind, "context": s.context, "default_mode": s.default_mode, "why": s.why}
            for s in app.served.values()
        ],
        "documents": documents,
        "layers": list(app.config.layers),
        "runner": app.engine_stats().runner if app.engine_stats is not None else "",
        "store": str(app.store_path),
        "status": "ready" if app.is_ready else app.stage,
    }


def _counts(app: App) -> dict[str, Any]:
    assert app.library is not None
    rows = app.library.documents()
    return {
        "folder": app.config.documents,
        "count": sum(r.state == "indexed" for r in rows),
        "failed": sum(r.state == "failed" for r in rows),
        "chunks": sum(r.chunks for r in rows),
        "indexing": app.library.indexing,
    }


def _library(app: App) -> Any:
    if app.library is None:
        if not app.is_ready:
            raise Unavailable(f"the server is starting ({app.stage})", hint="wait until /healthz says ready")
        raise NotFound("this server has no documents", hint="start it with a folder")
    return app.library


@router.get("/documents")
async def documents(request: Request) -> dict[str, Any]:
    app = app_of(request)
    library = _library(app)
    rows = await asyncio.to_thread(library.documents)
    names = ("path", "state", "bytes", "mtime", "chunks", "format", "title", "reason")
    return {
        "folder": app.config.documents,
        "indexing": library.indexing,
        "last_sync": library.last_sync,
        "documents": [{name: getattr(row, name) for name in names} for row in rows],
        "skipped": dict(library.report.skipped),
    }


@router.get("/documents/source")
async def source(request: Request, path: str = "") -> dict[str, Any]:
    doc = await asyncio.to_thread(_library(app_of(request)).document, path)
    blocks = [{"span": list(b.span), "kind": b.kind, "heading": list(b.heading), "page": b.page} for b in doc.blocks]
    return {"path": doc.path, "title": doc.title, "format": doc.format, "text": doc.text, "blocks": blocks}


@router.get("/search")
async def search(request: Request, q: str = "", k: str = "10", how: str = "hybrid") -> dict[str, Any]:
    library = _library(app_of(request))
    if not q.strip():
        raise BadInput("q is empty", hint="give something to search for", param="q")
    if how not in ("hybrid", "bm25", "dense"):
        raise BadInput(f"how is {how[:40]!r}", hint="give hybrid, bm25 or dense", param="how")
    count = number(k, "k", 1, 100)
    found = await asyncio.to_thread(lambda: library.search(q, k=count, how=how))
    return {"passages": [wire.passage(p) for p in found]}


def number(text: str, name: str, low: int, high: int) -> int:
    """A query parameter as a number within bounds."""
    if not text.isdecimal() or len(text) > 12 or not low <= int(text) <= high:
        raise BadInput(f"{name} is {text[:40]!r}", hint=f"give {low} to {high}", param=name)
    return int(text)


@router.get("/conversations")
async def conversations(request: Request) -> list[dict[str, Any]]:
    return await asyncio.to_thread(app_of(request).conversations.all)


@router.get("/conversations/{id}")
async def conversation(request: Request, id: str) -> dict[str, Any]:
    return await asyncio.to_thread(app_of(request).conversations.tree, id)


@router.get("/traces")
async def list_traces(request: Request, limit: str = "50") -> list[dict[str, Any]]:
    return await asyncio.to_thread(traces.latest, app_of(request).store, number(limit, "limit", 1, 500))


@router.get("/traces/{trace}")
async def trace(request: Request, trace: str) -> dict[str, Any]:
    return await asyncio.to_thread(traces.one, app_of(request).store, trace)


class Feedback(Strict):
    trace: str
    node: str | None = None
    value: Literal[1, -1, 0]
    reason: Annotated[str, Field(max_length=10_000)] | None = None
    correction: Annotated[str, Field(max_length=100_000)] | None = None


@router.post("/feedback")
async def feedback(request: Request) -> dict[str, Any]:
    """Stored before it is answered."""
    app = app_of(request)
    given = await parse(request, Feedback)
    await asyncio.to_thread(app.recorder.flush)  # the trace may still be on its way
    known = await asyncio.to_thread(lambda: next(iter(app.store.events(trace=given.trace, limit=1)), None))
    if not given.trace or known is None:
        raise NotFound(f"no trace {given.trace[:64]!r}", param="trace")
    id = new_id()
    await app.recorder.commit("feedback", {"id": id, **given.model_dump()}, given.trace, durable=True)
    return {"id": id}
