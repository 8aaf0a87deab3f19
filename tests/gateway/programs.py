"""Small real handlers: programs that yield events which are known beforehand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Mode, Prompted, Started, Timing, TokenInfo, Usage
from idiolect.core.errors import IdiolectError


@dataclass
class Speaker:
    """Says `pieces`, one delta each, `pace` seconds apart; for n choices in turn. Fails with `error` after `fail_after`
    deltas. Counts its calls, and the ones that were closed before their end."""

    pieces: Sequence[str] = ("Hello", ", ", "world")
    pace: float = 0.0
    error: IdiolectError | None = None
    fail_after: int = 0
    fail_times: int = 1 << 30
    id: str = "speaker"
    calls: int = 0
    closed: int = 0
    running: int = 0
    most: int = 0
    said: list[float] = field(default_factory=list)

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        self.calls += 1
        fails = self.error is not None and self.calls <= self.fail_times
        self.running += 1
        self.most = max(self.most, self.running)
        ended = False
        try:
            yield Started(f"id-{self.calls}", self.id, time.time())
            yield Prompted((1, 2, 3), ("a", "b", "c"))
            yield Mode("plain", "a program")
            count = 0
            for text in self.pieces:
                for index in range(call.n):
                    if fails and count >= self.fail_after:
                        assert self.error is not None
                        raise self.error
                    if self.pace:
                        await asyncio.sleep(self.pace)
                    count += 1
                    yield Delta(text, index, (TokenInfo(count, text, -0.5, ((count, text, -0.5), (7, "x", -2.0))),))
            if fails:
                assert self.error is not None
                raise self.error
            yield Timing("decode", 0.25)
            for index in range(call.n):
                yield Finished("stop", Usage(3, len(self.pieces), 1), index)
            ended = True
        except GeneratorExit:
            self.closed += 1
            ended = True
            raise
        finally:
            self.running -= 1
            if not ended:
                self.closed += 1


def ask(text: str = "hi", **fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
