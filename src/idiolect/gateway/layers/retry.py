"""Retry: the same handler again when it could not answer, with exponential backoff and full jitter (Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015), and only before the caller has seen anything.

After the first visible token a second attempt would contradict the first one, so the failure goes out as it is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from idiolect.core.call import Call, Ctx, Event, Handler, Note, Started
from idiolect.core.errors import BadInput, IdiolectError, Overloaded, Unavailable
from idiolect.gateway.streams import closing, visible


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """At most `attempts` in all; before attempt k+1 a random wait up to `base * 2**(k-1)`, never over `longest`."""

    attempts: int = 3
    base: float = 0.2  # seconds
    longest: float = 5.0  # seconds

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base < 0 or self.longest < 0:
            raise BadInput("retry settings must not be negative, and attempts at least 1", param="retry")


def passing(error: IdiolectError) -> bool:
    """Whether the same call may succeed a moment later. A refused key (`permanent`) stays refused."""
    return isinstance(error, Unavailable | Overloaded) and not getattr(error, "permanent", False)


class Retry:
    def __init__(
        self,
        config: RetryConfig | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.config = config or RetryConfig()
        self._sleep, self._jitter = sleep, jitter

    async def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        shown, started = False, False
        for attempt in range(1, self.config.attempts + 1):
            try:
                async with closing(next(call, ctx)) as events:
                    async for event in events:
                        shown = shown or visible(event)
                        if isinstance(event, Started):
                            if started:
                                continue  # the caller knows already who answers
                            started = True
                        yield event
                return
            except IdiolectError as error:
                if shown or attempt == self.config.attempts or not passing(error):
                    raise
                ctx.check()
                longest = min(self.config.longest, self.config.base * 2 ** (attempt - 1))
                asked = getattr(error, "retry_after", None)
                if asked is not None and asked > self.config.longest:
                    raise  # too long to keep the caller waiting: it is told when to come back
                wait = max(longest * self._jitter(), asked or 0.0)
                reason = error
            data = {"attempt": attempt, "wait": wait, "error": str(reason), "code": reason.code}
            yield Note("retry", f"attempt {attempt} failed ({reason.message}); trying again", data)
            await self._sleep(wait)
            ctx.check()
