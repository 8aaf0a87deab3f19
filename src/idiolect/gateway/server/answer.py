"""How an answer travels: one response class for streams and for complete answers, both of which watch the caller.

A caller that hangs up cancels its call at once: the engine frees its pages, an upstream's connection is closed, and
what was said so far is recorded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from idiolect.core.call import Ctx
from idiolect.core.errors import IdiolectError
from idiolect.gateway.app import App
from idiolect.gateway.server.errors import render
from idiolect.gateway.streams import closing, tripped

log = logging.getLogger(__name__)
GRACE = 1.0  # seconds that a cancelled call has to end by itself


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def sse(value: Any, event: str = "") -> bytes:
    """One server-sent event."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + dumps(value) + b"\n\n"


class Answer(Response):
    """Runs a call and sends what comes of it. Give either `stream` (bytes of server-sent events) or `whole` (an
    awaitable JSON value). An error before the first byte has its own status; one after it is an `error` event."""

    def __init__(
        self,
        app: App,
        ctx: Ctx,
        endpoint: str,
        model: str,
        *,
        stream: AsyncIterator[bytes] | None = None,
        whole: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self.background = None
        self._app, self._ctx, self._endpoint, self._model = app, ctx, endpoint, model
        self._stream, self._whole = stream, whole
        self._begin = time.perf_counter()
        self.status_code = 499  # until something was sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._app.metrics
        self._app.in_flight[self._ctx.trace] = self._ctx
        metrics.inflight.inc()
        work = asyncio.create_task(self._work(send))
        watch = asyncio.create_task(_hang_up(receive))
        stopped = tripped(self._ctx)
        try:
            await asyncio.wait((work, watch, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done() and not work.done():  # the server stops: let the call end in its own words
                await asyncio.wait((work, watch), timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.status_code = 499
        finally:
            if not work.done():
                self._ctx.cancel.cancel()
            for task in (work, watch):
                if not task.done():
                    task.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await task
            self._app.in_flight.pop(self._ctx.trace, None)
            metrics.inflight.dec()
            metrics.requests.labels(self._endpoint, self._model, str(self.status_code)).inc()
            metrics.seconds.labels(self._endpoint).observe(time.perf_counter() - self._begin)

    async def _work(self, send: Send) -> None:
        started = False
        try:
            if self._whole is not None:
                body = dumps(await self._whole())
                await self._start(send, 200, "application/json", {"content-length": str(len(body))})
                await send({"type": "http.response.body", "body": body})
                return
            assert self._stream is not None
            async with closing(self._stream) as chunks:
                async for chunk in chunks:
                    if not started:
                        await self._start(send, 200, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})
                        started = True
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except Exception as error:
            if not isinstance(error, IdiolectError):
                log.exception("a call failed")
            status, shape, headers = render(error)
            if started:
                await send({"type": "http.response.body", "body": sse(shape) + b"data: [DONE]\n\n"})
            else:
                body = dumps(shape)
                await self._start(send, status, "application/json", {**headers, "content-length": str(len(body))})
                await send({"type": "http.response.body", "body": body})
            self.status_code = status

    async def _start(self, send: Send, status: int, kind: str, headers: dict[str, str]) -> None:
        self.status_code = status
        raw = [(b"content-type", kind.encode()), (b"x-request-id", self._ctx.trace.encode())]
        raw += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})

    def first(self) -> None:
        """The first text is on its way."""
        self._app.metrics.first.labels(self._endpoint).observe(time.perf_counter() - self._begin)


async def _hang_up(receive: Receive) -> None:
    """Return when the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
