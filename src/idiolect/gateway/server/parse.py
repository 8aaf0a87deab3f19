"""From an HTTP request to a checked request object and a context."""

from __future__ import annotations

import time
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from idiolect.core.call import Ctx
from idiolect.core.errors import BadInput
from idiolect.gateway.app import App
from idiolect.gateway.server.errors import invalid

T = TypeVar("T", bound=BaseModel)


def app_of(request: Request) -> App:
    app: App = request.app.state.app
    return app


async def parse(request: Request, shape: type[T]) -> T:
    """The body as `shape`. `BadInput` names the field, and the nearest known one."""
    body = await request.body()
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, set(shape.model_fields)) from None
    except RecursionError:
        raise BadInput("the body is nested too deeply") from None


def context(request: Request) -> Ctx:
    """A fresh context: its own trace, the key's tenant, the configured deadline."""
    app = app_of(request)
    seconds = app.config.http.seconds
    return Ctx(
        tenant=request.state.tenant,
        deadline=None if seconds is None else time.monotonic() + seconds,
        store=app.store,
    )
