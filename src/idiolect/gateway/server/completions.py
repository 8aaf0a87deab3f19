"""POST /v1/completions: raw text or token ids in, their continuation out; several prompts at once."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from idiolect.core.call import Call, Completion, Ctx, Delta, Event, Finished, Usage
from idiolect.core.errors import BadInput, Cancelled
from idiolect.gateway.app import App
from idiolect.gateway.server import shapes
from idiolect.gateway.server.answer import Answer, sse
from idiolect.gateway.server.parse import app_of, context, parse
from idiolect.gateway.server.schema import CompletionRequest
from idiolect.gateway.streams import closing, merge

router = APIRouter()


@router.post("/v1/completions")
async def completions(request: Request) -> Answer:
    app = app_of(request)
    body = await parse(request, CompletionRequest)
    served = app.find(body.model)
    n = body.choices(app.config.http.max_n)
    if body.best_of is not None and body.best_of != n:
        raise BadInput("best_of other than n is not available", hint="leave it out", param="best_of")
    prompts = body.prompts()
    if len(prompts) * n > max(64, app.config.http.max_n):
        raise BadInput(f"{len(prompts)} prompts are too many", hint="send at most 64 at once", param="prompt")
    if served.kind == "rag":  # a raw completion has no question to look documents up for
        served = app.find(f"{served.id}:plain")
    if body.max_tokens == 0 and not body.echo:
        raise BadInput("max_tokens is 0 and there is nothing to echo", hint="set echo", param="max_tokens")
    # max_tokens 0 with echo: the prompt's own log-probabilities, and nothing written.
    read_only = body.max_tokens == 0
    most = 1 if read_only else 16 if body.max_tokens is None else body.max_tokens
    sampling = body.sampling(served.sampling, logprobs=body.logprobs, max_tokens=most)
    options = {"echo": "only" if read_only else True} if body.echo else {}
    calls = [Call(served.id, prompt=p, sampling=sampling, n=n, options=options) for p in prompts]
    ctx = context(request)
    if body.stream:
        include = body.stream_options is not None and body.stream_options.include_usage
        return Answer(app, ctx, "completions", served.id, stream=_chunks(app, calls, ctx, include))

    async def whole() -> dict[str, Any]:
        done = await _fold(_run(app, calls, ctx), len(calls))
        choices = []
        for number, one in enumerate(done):
            for choice in one.choices:
                if choice.reason == "cancelled":
                    raise Cancelled("the answer was cancelled before its end")
                logprobs = shapes.completion_logprobs(choice.tokens, 0) if sampling.logprobs is not None else None
                choices.append(_choice(number * n + choice.index, choice.text, logprobs, choice.reason))
        used = sum((one.usage for one in done), Usage())
        app.metrics.usage(served.id, used)
        return _frame(ctx, done[0].model or served.id) | {"choices": choices, "usage": shapes.usage(used)}

    return Answer(app, ctx, "completions", served.id, whole=whole)


def _run(app: App, calls: list[Call], ctx: Ctx) -> AsyncIterator[tuple[int, Event]]:
    """The events of all prompts together, each with its prompt's number and a trace of its own."""

    async def one(number: int, call: Call) -> AsyncGenerator[tuple[int, Event], None]:
        own = ctx if number == 0 else replace(ctx, trace=f"{ctx.trace}-{number}")
        async with closing(app.handler(call.model)(call, own)) as events:
            async for event in events:
                yield number, event

    return merge([one(i, call) for i, call in enumerate(calls)]) if len(calls) > 1 else one(0, calls[0])


async def _fold(events: AsyncIterator[tuple[int, Event]], count: int) -> list[Completion]:
    done = [Completion() for _ in range(count)]
    async with closing(events):
        async for number, event in events:
            done[number].add(event)
    return done


async def _chunks(app: App, calls: list[Call], ctx: Ctx, include: bool) -> AsyncGenerator[bytes, None]:
    done = [Completion() for _ in calls]
    offsets: dict[int, int] = {}
    async with closing(_run(app, calls, ctx)) as events:
        async for number, event in events:
            done[number].add(event)
            frame = _frame(ctx, done[number].model or calls[0].model)
            if include:
                frame["usage"] = None
            match event:
                case Delta():
                    index = number * calls[0].n + event.index
                    logprobs = None
                    if calls[0].sampling.logprobs is not None and event.tokens:
                        logprobs = shapes.completion_logprobs(event.tokens, offsets.get(index, 0))
                    offsets[index] = offsets.get(index, 0) + len(event.text)
                    yield sse(frame | {"choices": [_choice(index, event.text, logprobs, None, whole=False)]})
                case Finished():
                    if event.reason == "cancelled":
                        raise Cancelled("the answer was cancelled before its end")
                    index = number * calls[0].n + event.index
                    yield sse(frame | {"choices": [_choice(index, "", None, event.reason)]})
                case _:
                    pass
    used = sum((one.usage for one in done), Usage())
    app.metrics.usage(calls[0].model, used)
    last = b""
    if include:
        last = sse(_frame(ctx, done[0].model or calls[0].model) | {"choices": [], "usage": shapes.usage(used)})
    yield last + b"data: [DONE]\n\n"


def _frame(ctx: Ctx, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{ctx.trace}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }


def _choice(index: int, text: str, logprobs: Any, reason: Any, *, whole: bool = True) -> dict[str, Any]:
    finish = shapes.finish_reason(reason) if whole else None
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
