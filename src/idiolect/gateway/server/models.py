"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from idiolect.gateway.app import App, Served
from idiolect.gateway.server.parse import app_of

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    return {"object": "list", "data": await asyncio.to_thread(_all, app_of(request))}


@router.get("/v1/models/{id:path}")
async def model(request: Request, id: str) -> dict[str, Any]:
    app = app_of(request)
    for shape in await asyncio.to_thread(_all, app):
        if shape["id"] == id:
            return shape
    return await asyncio.to_thread(_shape, app.find(id))


def _all(app: App) -> list[dict[str, Any]]:
    encoders = [
        {"id": id, "object": "model", "created": 0, "owned_by": "idiolect", "kind": "embedding"} for id in app.embedders
    ]
    return [_shape(served) for served in app.served.values()] + encoders


def _shape(served: Served) -> dict[str, Any]:
    return {
        "id": served.id,
        "object": "model",
        "created": int(served.created),
        "owned_by": "upstream" if served.kind == "upstream" else "idiolect",
        "kind": served.kind,
        "context": served.context,
        "fingerprint": served.fingerprint() or None,
    }
