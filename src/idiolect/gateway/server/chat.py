"""POST /v1/chat/completions: OpenAI's shapes, streaming and not, with `citations` and `idiolect` beside them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import APIRouter, Request

from idiolect.core.call import Call, Ctx, Delta, Finished, Note
from idiolect.core.errors import BadInput, Cancelled
from idiolect.gateway.app import App, Served
from idiolect.gateway.server import shapes
from idiolect.gateway.server.answer import Answer, sse
from idiolect.gateway.server.parse import app_of, context, parse
from idiolect.gateway.server.schema import ChatRequest
from idiolect.gateway.server.turn import Turn
from idiolect.gateway.streams import closing

router = APIRouter()


def call_of(body: ChatRequest, served: Served, most: int) -> Call:
    """The call that a request asks for."""
    options: dict[str, Any] = {}
    wishes = body.idiolect
    if wishes is not None:
        if served.kind == "rag":
            options["mode"] = wishes.mode
            options |= {k: v for k in ("length", "expertise") if (v := getattr(wishes, k)) is not None}
        if wishes.regenerate:
            options["no_cache"] = True
        if wishes.overflow is not None:
            options["overflow"] = wishes.overflow
    if body.response_format is not None and body.response_format.get("type") != "text":
        if served.kind != "upstream":
            raise BadInput(
                f"response_format {body.response_format.get('type')!r} is not available with {served.id}",
                hint="leave it out, or use an upstream model",
                param="response_format",
            )
        options["response_format"] = body.response_format
    if body.tool_choice is not None:
        options["tool_choice"] = body.tool_choice
    return Call(
        served.id,
        tuple(m.message() for m in body.messages),
        sampling=body.sampling(served.sampling, logprobs=body.wanted_logprobs(), max_tokens=body.tokens()),
        n=body.choices(most),
        tools=tuple(body.tools or ()),
        options=options,
    )


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Answer:
    app = app_of(request)
    body = await parse(request, ChatRequest)
    served = app.find(body.model)
    call = call_of(body, served, app.config.http.max_n)
    ctx = context(request)
    if body.stream:
        include = body.stream_options is not None and body.stream_options.include_usage
        stream = _Stream(app, body, call, ctx, include)
        answer = Answer(app, ctx, "chat", served.id, stream=stream.chunks())
        stream.first = answer.first
        return answer

    async def whole() -> dict[str, Any]:
        turn = await Turn.begin(app, call, ctx, body.idiolect)
        async with closing(turn.over(app.handler(call.model)(call, ctx))) as events:
            async for _ in events:
                pass
        app.metrics.usage(served.id, turn.done.usage)
        return complete(turn, call, ctx)

    return Answer(app, ctx, "chat", served.id, whole=whole)


def complete(turn: Turn, call: Call, ctx: Ctx) -> dict[str, Any]:
    """A `chat.completion`."""
    done, choices = turn.done, []
    mode = done.mode.mode if done.mode else ""
    for choice in done.choices:
        if choice.reason == "cancelled":
            raise Cancelled("the answer was cancelled before its end")
        calls = shapes.tool_calls(done, choice.index)
        message: dict[str, Any] = {"role": "assistant", "content": choice.text or (None if calls else "")}
        message["refusal"] = None
        if calls:
            message["tool_calls"] = calls
        choices.append(
            {
                "index": choice.index,
                "message": message,
                "logprobs": shapes.chat_logprobs(choice.tokens) if call.sampling.logprobs is not None else None,
                "finish_reason": shapes.finish_reason(choice.reason, mode),
            }
        )
    return {
        "id": f"chatcmpl-{ctx.trace}",
        "object": "chat.completion",
        "created": int(done.created or time.time()),
        "model": done.model or call.model,
        "choices": choices,
        "usage": shapes.usage(done.usage),
        "system_fingerprint": None,
        **shapes.extras(done, ctx.trace, turn.node, turn.user_node),
    }


class _Stream:
    """Events to `chat.completion.chunk`s. The role goes out with the first event, an empty chunk with our own fields
    before `[DONE]`; it carries the usage too, when that was asked for."""

    def __init__(self, app: App, body: ChatRequest, call: Call, ctx: Ctx, usage: bool) -> None:
        self._app, self._body, self._call, self._ctx, self._usage = app, body, call, ctx, usage
        self._created = int(time.time())
        self.first = lambda: None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        call, shown = self._call, False
        turn = await Turn.begin(self._app, call, self._ctx, self._body.idiolect)
        roles: set[int] = set()
        async with closing(turn.over(self._app.handler(call.model)(call, self._ctx))) as events:
            async for event in events:
                match event:
                    case Delta():
                        if event.index not in roles:
                            roles.add(event.index)
                            yield self._role(turn, event.index)
                        if not shown and event.text:
                            shown = True
                            self.first()
                        wanted = call.sampling.logprobs is not None and event.tokens
                        logprobs = shapes.chat_logprobs(event.tokens) if wanted else None
                        if event.text or logprobs:
                            yield self._chunk(turn, event.index, {"content": event.text}, logprobs)
                    case Note(code="tool_call"):
                        index = event.data["index"]
                        if index not in roles:
                            roles.add(index)
                            yield self._role(turn, index)
                        before = len(shapes.tool_calls(turn.done, index)) - 1
                        made = shapes.tool_calls(turn.done, index)[-1]
                        yield self._chunk(turn, index, {"tool_calls": [{"index": before, **made}]})
                    case Finished():
                        if event.reason == "cancelled":
                            raise Cancelled("the answer was cancelled before its end")
                        if event.index not in roles:
                            roles.add(event.index)
                            yield self._role(turn, event.index)
                        mode = turn.done.mode.mode if turn.done.mode else ""
                        reason = shapes.finish_reason(event.reason, mode)
                        yield self._chunk(turn, event.index, {}, None, reason)
                    case _:
                        pass
        self._app.metrics.usage(call.model, turn.done.usage)
        last = self._frame(turn) | shapes.extras(turn.done, self._ctx.trace, turn.node, turn.user_node)
        if self._usage:
            last["usage"] = shapes.usage(turn.done.usage)
        yield sse(last) + b"data: [DONE]\n\n"

    def _frame(self, turn: Turn) -> dict[str, Any]:
        frame: dict[str, Any] = {
            "id": f"chatcmpl-{self._ctx.trace}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": turn.done.model or self._call.model,
            "system_fingerprint": None,
            "choices": [],
        }
        if self._usage:
            frame["usage"] = None
        return frame

    def _role(self, turn: Turn, index: int) -> bytes:
        return self._chunk(turn, index, {"role": "assistant", "content": "", "refusal": None})

    def _chunk(
        self,
        turn: Turn,
        index: int,
        delta: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> bytes:
        frame = self._frame(turn)
        frame["choices"] = [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]
        return sse(frame)
