"""GET /healthz and /metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from idiolect.gateway.server.parse import app_of

router = APIRouter()


@router.get("/healthz")
async def healthz(request: Request) -> JSONResponse:
    """200 only when questions can be answered."""
    app = app_of(request)
    if app.is_ready:
        return JSONResponse({"status": "ready"})
    if app.failure is not None:
        return JSONResponse({"status": "failed", "stage": app.stage, "error": str(app.failure)}, 503)
    return JSONResponse({"status": "starting", "stage": app.stage}, 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    text = await asyncio.to_thread(app_of(request).metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
