"""Small tools for streams of events: deterministic closing, merging, and the cost of a layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Handler, Layer, Timing

T = TypeVar("T")


@asynccontextmanager
async def closing(events: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """Close `events` when the block is left, however it is left.

    A layer that iterates without this leaves the inner generators to the garbage collector, and a cancelled request
    then goes on inside. So every layer enters `next(call, ctx)` through here.
    """
    try:
        yield events
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def visible(event: Event) -> bool:
    """Whether the caller has now been shown something that a second attempt would contradict."""
    return isinstance(event, Delta | Finished)


async def merge(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[T]:
    """Events of several streams as they come. The first failure closes all of them and is raised."""
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(maxsize=64)

    async def pump(stream: AsyncIterator[T]) -> None:
        try:
            async with closing(stream):
                async for event in stream:
                    await queue.put(("event", event))
            await queue.put(("end", None))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await queue.put(("error", error))

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            what, value = await queue.get()
            if what == "event":
                yield value
            elif what == "end":
                left -= 1
            else:
                raise value
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def tripped(ctx: Ctx) -> asyncio.Future[None]:
    """A future of the running loop that ends when the call is cancelled, from whatever thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    def from_anywhere() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    ctx.cancel.on_cancel(from_anywhere)
    return future


class _Watch:
    """Adds up the seconds spent waiting for a stream's next event."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    async def over(self, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        async with closing(events):
            step = aiter(events).__anext__
            clock = time.perf_counter
            while True:
                begin = clock()
                try:
                    event = await step()
                except StopAsyncIteration:
                    return
                finally:
                    self.seconds += clock() - begin
                yield event


def measured(name: str, layer: Layer, observe: Callable[[str, float], None]) -> Layer:
    """`layer`, with its own seconds (its total less what was inside it) told to `observe` when the call ends, and
    as `Timing("layer:<name>")` before the last `Finished`."""

    async def run(call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        inner, outer = _Watch(), _Watch()
        left = call.n

        def counted(call: Call, ctx: Ctx) -> AsyncIterator[Event]:
            return inner.over(next(call, ctx))

        try:
            async with closing(outer.over(layer(call, ctx, counted))) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        left -= 1
                        if left == 0:
                            yield Timing(f"layer:{name}", max(0.0, outer.seconds - inner.seconds))
                    yield event
        finally:
            observe(name, max(0.0, outer.seconds - inner.seconds))

    return run
