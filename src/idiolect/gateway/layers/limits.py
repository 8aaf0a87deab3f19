"""Limits: how many calls run at once, how often a key may call, and how many tokens it may spend in a day.

The rate is a token bucket (Turner, "New directions in communications", IEEE Communications Magazine, 1986): it holds
at most `burst` calls and fills by `per_minute`/60 a second. A refused call raises `Limited`, which knows when to come
back; the server turns it into 429 with `Retry-After`. Calls over `concurrent` wait in line, at most `waiting` of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Handler, Prompted
from idiolect.core.errors import BadInput, Overloaded
from idiolect.core.store import Store
from idiolect.gateway.streams import closing

DAY = 86_400.0


class Limited(Overloaded):
    """Refused by a limit; `retry_after` seconds later it may pass."""

    def __init__(self, message: str, retry_after: float, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or f"try again in {max(1, round(retry_after))} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """`concurrent` calls run at once and `waiting` more wait; `per_minute` calls and `burst` at once for each key;
    `tokens_per_day` (prompt and completion, UTC days) for each key. None: no such limit."""

    concurrent: int | None = 64
    waiting: int = 256
    per_minute: float | None = None
    burst: int = 10
    tokens_per_day: int | None = None

    def __post_init__(self) -> None:
        for name in ("concurrent", "per_minute", "burst", "tokens_per_day"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"limits.{name} is {value}", hint="give a positive number or null", param=name)
        if self.waiting < 0:
            raise BadInput(f"limits.waiting is {self.waiting}", hint="give 0 or more", param="waiting")


class Bucket:
    """A token bucket. `take(now)` returns 0.0 when a call may pass, else the seconds until one may."""

    __slots__ = ("_burst", "_held", "_rate", "_then")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst, self._held, self._then = rate, burst, float(burst), now

    def full(self, now: float) -> bool:
        return self._held + (now - self._then) * self._rate >= self._burst

    def take(self, now: float) -> float:
        self._held = min(self._burst, self._held + (now - self._then) * self._rate)
        self._then = now
        if self._held >= 1:
            self._held -= 1
            return 0.0
        return (1 - self._held) / self._rate


class Limits:
    """Refuses or delays calls. Budgets survive a restart: what was spent today is read back from the store."""

    def __init__(
        self,
        config: LimitsConfig,
        *,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.running = 0
        self.queued = 0
        self._clock, self._today = clock, today
        self._line: list[asyncio.Future[None]] = []
        self._buckets: dict[str, Bucket] = {}
        self._day = int(today() // DAY)
        self._spent: dict[str, int] = {}
        if store is not None and config.tokens_per_day is not None:
            for tenant, tokens in _spent_since(store, self._day * DAY):
                self._spent[tenant] = self._spent.get(tenant, 0) + tokens

    async def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        self._check_rate(ctx.tenant)
        self._check_budget(ctx.tenant)
        async with self._turn():
            ctx.check()
            seen: dict[int, int] = {}  # tokens shown of choices that have not finished
            prompt, counted = 0, False
            try:
                async with closing(next(call, ctx)) as events:
                    async for event in events:
                        match event:
                            case Delta():
                                seen[event.index] = seen.get(event.index, 0) + max(1, len(event.tokens))
                            case Prompted():
                                prompt = max(prompt, len(event.ids))
                            case Finished():
                                seen.pop(event.index, None)
                                usage = event.usage
                                self._spend(
                                    ctx.tenant, usage.completion_tokens + (0 if counted else usage.prompt_tokens)
                                )
                                counted = True
                            case _:
                                pass
                        yield event
            finally:
                if seen:  # cut short: what was shown was spent
                    self._spend(ctx.tenant, sum(seen.values()) + (0 if counted else prompt))

    # -------------------------------------------------------------------------------------------------- checks

    def _check_rate(self, tenant: str) -> None:
        if self.config.per_minute is None:
            return
        now = self._clock()
        if len(self._buckets) > 10_000:  # a full bucket is as good as a new one
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.full(now)}
        bucket = self._buckets.setdefault(tenant, Bucket(self.config.per_minute / 60, self.config.burst, now))
        wait = bucket.take(now)
        if wait > 0:
            raise Limited(f"more than {self.config.per_minute:g} requests a minute", wait)

    def _check_budget(self, tenant: str) -> None:
        if self.config.tokens_per_day is None:
            return
        self._new_day()
        spent = self._spent.get(tenant, 0)
        if spent >= self.config.tokens_per_day:
            rest = (self._day + 1) * DAY - self._today()
            raise Limited(
                f"the budget of {self.config.tokens_per_day:,} tokens a day is spent ({spent:,})",
                rest,
                hint="wait until midnight UTC or raise limits.tokens_per_day",
            )

    def _spend(self, tenant: str, tokens: int) -> None:
        if self.config.tokens_per_day is not None:
            self._new_day()
            self._spent[tenant] = self._spent.get(tenant, 0) + tokens

    def _new_day(self) -> None:
        day = int(self._today() // DAY)
        if day != self._day:
            self._day, self._spent = day, {}

    # ---------------------------------------------------------------------------------------------- concurrency

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """Wait in line (first come, first served) for one of the `concurrent` places."""
        most = self.config.concurrent
        if most is None:
            yield
            return
        if self.running >= most or self._line:
            if self.queued >= self.config.waiting:
                raise Limited(f"{self.running} calls are running and {self.queued} are waiting", 1.0)
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(place)
            self.queued += 1
            try:
                await place  # whoever leaves hands its place over, so `running` already counts us
            except BaseException:
                if place in self._line:
                    self._line.remove(place)
                else:
                    self._leave()
                raise
            finally:
                self.queued -= 1
        else:
            self.running += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._line:
            place = self._line.pop(0)
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1


def _spent_since(store: Store, midnight: float) -> Iterator[tuple[str, int]]:
    """(tenant, tokens) of every call since `midnight`, newest first."""
    used: dict[str, int] = {}
    for row in store.events(kind="done", newest_first=True):
        if row.time < midnight:
            break
        usage = row.payload["usage"]
        used[row.trace] = usage["prompt_tokens"] + usage["completion_tokens"]
    for row in store.events(kind="call", newest_first=True):
        if not used:
            return
        if row.trace in used:
            yield row.payload["tenant"], used.pop(row.trace)
