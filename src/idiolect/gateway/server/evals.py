"""What the Evals tab asks for: runs, two runs side by side, and the arena."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Request

from idiolect.core.errors import BadInput
from idiolect.evals import arena
from idiolect.gateway import evaluations
from idiolect.gateway.server.api import number
from idiolect.gateway.server.parse import app_of, parse
from idiolect.gateway.server.schema import Strict

router = APIRouter(prefix="/api/evals")


@router.get("/runs")
async def runs(request: Request, limit: str = "100") -> list[dict[str, Any]]:
    return await asyncio.to_thread(evaluations.latest, app_of(request).store, number(limit, "limit", 1, 500))


@router.get("/runs/{id}")
async def run(request: Request, id: str, offset: str = "0", limit: str = "50") -> dict[str, Any]:
    at, most = number(offset, "offset", 0, 10**9), number(limit, "limit", 1, 500)
    return await asyncio.to_thread(evaluations.one, app_of(request).store, id, at, most)


@router.get("/compare")
async def compare(
    request: Request,
    a: str = "",
    b: str = "",
    metric: str = "",
    show: str = "all",
    offset: str = "0",
    limit: str = "50",
) -> dict[str, Any]:
    at, most = number(offset, "offset", 0, 10**9), number(limit, "limit", 1, 500)
    return await asyncio.to_thread(evaluations.compare, app_of(request).store, a, b, metric, show, at, most)


@router.get("/arena")
async def standings(request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(evaluations.standings, app_of(request).store)


class Wanted(Strict):
    task: str | None = None


@router.post("/arena/pairs")
async def next_pair(request: Request) -> dict[str, Any]:
    """Two answers, without their names. The pair is stored, so that the choice needs only its id."""
    app = app_of(request)
    wanted = await parse(request, Wanted)
    store = app.store
    pair, left, right = await asyncio.to_thread(
        lambda: arena.draw(store, arena.judged(arena.choices(store)), wanted.task)
    )
    await app.recorder.commit(arena.PAIR, pair.payload(), pair.id)
    return evaluations.blind(pair, left, right)


class Chosen(Strict):
    pair: str
    choice: Literal["left", "right", "tie"]


@router.post("/arena/choices")
async def choose(request: Request) -> dict[str, Any]:
    """Stored before it is answered; the answer says whose the two were."""
    app = app_of(request)
    given = await parse(request, Chosen)
    pair = await asyncio.to_thread(arena.pair, app.store, given.pair)
    if await asyncio.to_thread(lambda: next(iter(app.store.events(arena.CHOICE, pair.id, 0, 1)), None)):
        raise BadInput("this pair has been judged already", hint="ask for a new one", param="pair")
    payload = {**pair.payload(), "choice": given.choice}
    await app.recorder.commit(arena.CHOICE, payload, pair.id, durable=True)
    return {"left": pair.systems[0], "right": pair.systems[1], "choice": given.choice}
