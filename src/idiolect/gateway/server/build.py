"""Puts the routes, the shield and the page together."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from idiolect.core.errors import IdiolectError
from idiolect.gateway.app import App
from idiolect.gateway.server import api, chat, completions, embeddings, evals, health, models, responses
from idiolect.gateway.server.errors import Refused, render
from idiolect.gateway.server.page import Page
from idiolect.gateway.server.shield import Shield

log = logging.getLogger(__name__)

# FastAPI sends spans wherever environment variables point unless told not to. Ours are rows of the store.
_NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(app: App, static: Path | None = None) -> FastAPI:
    """An ASGI application around `app`. Its lifespan starts the loading and closes everything at the end. `static` is
    the folder of the page; None: no page. There is no /docs: FastAPI's loads its scripts from elsewhere."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        app.start().add_done_callback(_report)
        try:
            yield
        finally:
            await app.close()

    http = FastAPI(title="Idiolect", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=_NO_TELEMETRY)
    http.state.app = app
    for part in (chat, completions, embeddings, models, responses, health, api, evals):
        http.include_router(part.router)
    if static is not None:
        http.mount("/", Page(static))
    http.add_exception_handler(IdiolectError, _ours)
    http.add_exception_handler(HTTPException, _theirs)
    http.add_exception_handler(Exception, _ours)
    if app.config.http.origins:
        http.add_middleware(
            CORSMiddleware,
            allow_origins=list(app.config.http.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    http.add_middleware(Shield, config=app.config.http, keys=app.keys)
    return http


def _report(loading: object) -> None:
    error = loading.exception() if not loading.cancelled() else None  # type: ignore[attr-defined]
    if error is not None:
        log.error("loading failed: %s", error, exc_info=None if isinstance(error, IdiolectError) else error)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    status, body, headers = render(error)
    return JSONResponse(body, status, headers)


async def _theirs(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            own = Refused(404, "not_found", f"there is nothing at {request.url.path[:200]}")
        case 405:
            own = Refused(405, "method_not_allowed", f"{request.method} is not possible at {request.url.path[:200]}")
        case status:
            own = Refused(status, "invalid_request", str(error.detail))
    status, body, headers = render(own)
    return JSONResponse(body, status, {**(error.headers or {}), **headers})
