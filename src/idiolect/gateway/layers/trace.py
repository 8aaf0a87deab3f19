"""The trace: every event of every call in the store, under one root row per request.

Rows of a trace: `call` (the root: what was asked, by whom, with which settings; its chain holds the messages), one
row per event (`started`, `prompted`, `retrieved`, `mode`, `tokens`, `cited`, `timing`, `note`, `finished`), `failed`
when an exception or a cancellation ended it, and `done` with the totals. The root is written within moments, the rest
behind, and all of it is committed before the caller sees the end: no token waits for the disk, and no finished answer
can be lost. An answer from the exact cache is in the store already, so its replay waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from idiolect.core.call import (
    Call,
    Ctx,
    Delta,
    Event,
    Finished,
    Handler,
    Mode,
    Note,
    Prompted,
    Sampling,
    Started,
    Usage,
)
from idiolect.core.errors import IdiolectError
from idiolect.gateway import wire
from idiolect.gateway.recorder import Recorder
from idiolect.gateway.streams import closing


def question(call: Call) -> str:
    """The last thing that the user said, for lists of traces."""
    for message in reversed(call.messages):
        if message.role == "user":
            return message.content[:500]
    return call.prompt[:500] if isinstance(call.prompt, str) else ""


def settings(sampling: Sampling) -> dict[str, Any]:
    """Every sampling field as JSON."""
    fields = {name: getattr(sampling, name) for name in sampling.__slots__}
    fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    fields["stop"], fields["stop_ids"] = list(sampling.stop), list(sampling.stop_ids)
    return fields


def root(call: Call, ctx: Ctx) -> dict[str, Any]:
    """The payload of a trace's root row."""
    return {
        "model": call.model,
        "question": question(call),
        "prompt": list(call.prompt) if isinstance(call.prompt, tuple) else call.prompt,
        "sampling": settings(call.sampling),
        "n": call.n,
        "tools": [dict(tool) for tool in call.tools],
        "options": dict(call.options),
        "tenant": ctx.tenant,
    }


class Trace:
    """Records calls. The outermost layer, so that what the other layers did and refused is recorded too."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    async def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        recorder, trace = self.recorder, ctx.trace
        begin = time.perf_counter()
        summary = _Summary(call.model)
        recorder.put("call", root(call, ctx), trace, call.messages, urgent=True)
        left, closed, replay = call.n, False, False
        try:
            async with closing(next(call, ctx)) as events:
                async for event in events:
                    if isinstance(event, Note) and event.code == "cache":
                        replay = True
                    recorder.event(trace, event)
                    summary.add(event)
                    if isinstance(event, Finished):
                        left -= 1
                        if left == 0:
                            closed = True
                            totals = summary.payload(time.perf_counter() - begin)
                            if replay:
                                recorder.put("done", totals, trace)
                            else:
                                await recorder.commit("done", totals, trace)
                    yield event
        except BaseException as error:
            if not closed:
                recorder.put("failed", _failure(error), trace)
            raise
        finally:
            if not closed:
                recorder.put("done", summary.payload(time.perf_counter() - begin), trace)


class _Summary:
    """The totals of a call, for lists of traces."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.mode = ""
        self.tokens = 0  # seen in deltas: what a cut answer has used
        self.usage: Usage | None = None
        self.reason: str | None = None
        self.prompt = 0

    def add(self, event: Event) -> None:
        match event:
            case Started():
                self.model = event.model
            case Mode():
                self.mode = event.mode
            case Prompted():
                self.prompt = max(self.prompt, len(event.ids))
            case Delta():
                self.tokens += max(1, len(event.tokens))
            case Finished():
                self.reason = event.reason
                self.usage = event.usage if self.usage is None else _with(self.usage, event.usage)
            case _:
                pass

    def payload(self, seconds: float) -> dict[str, Any]:
        usage = self.usage or Usage(self.prompt, self.tokens)
        return {
            "model": self.model,
            "mode": self.mode,
            "seconds": seconds,
            "tokens": usage.completion_tokens,
            "usage": wire.encode_usage(usage),
            "reason": self.reason,
        }


def _with(a: Usage, b: Usage) -> Usage:
    """Prompt tokens once, completion tokens of all choices."""
    return Usage(
        max(a.prompt_tokens, b.prompt_tokens),
        a.completion_tokens + b.completion_tokens,
        max(a.cached_tokens, b.cached_tokens),
    )


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, IdiolectError):
        return {"message": str(error), "code": error.code}
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return {"message": "the caller went away before the end", "code": "cancelled"}
    return {"message": f"{type(error).__name__}: {error}", "code": "internal_error"}
