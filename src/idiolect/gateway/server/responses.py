"""POST /v1/responses: the newer shape of the same call, for text in and text out.

Stateless: `previous_response_id` is refused, since conversations here live under `idiolect.conversation` of a chat.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from idiolect.core.call import Call, Completion, Ctx, Delta, Message, Sampling
from idiolect.core.errors import BadInput, Cancelled
from idiolect.gateway.app import App
from idiolect.gateway.server import shapes
from idiolect.gateway.server.answer import Answer, sse
from idiolect.gateway.server.parse import app_of, context, parse
from idiolect.gateway.server.schema import Ignored, Strict
from idiolect.gateway.streams import closing

router = APIRouter()


class InputPart(Strict):
    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: Any = None
    logprobs: Any = None


class Item(Strict):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart]
    id: Any = None
    status: Any = None


class ResponseRequest(Ignored):
    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    background: Literal[False] | None = None
    previous_response_id: None = None
    truncation: Literal["disabled", "auto"] | None = None
    text: dict[str, Any] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Any = None
    include: Annotated[list[Any], Field(max_length=0)] | None = None
    reasoning: Any = None

    def messages(self) -> tuple[Message, ...]:
        found = [Message("system", self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return (*found, Message("user", self.input))
        for item in self.input:
            role = "system" if item.role == "developer" else item.role
            content = item.content if isinstance(item.content, str) else "\n".join(p.text for p in item.content)
            found.append(Message(role, content))
        return tuple(found)


@router.post("/v1/responses")
async def responses(request: Request) -> Answer:
    app = app_of(request)
    body = await parse(request, ResponseRequest)
    served = app.find(body.model)
    if body.text is not None and (body.text.get("format") or {"type": "text"}).get("type") != "text":
        raise BadInput("text.format other than text is not available", hint="leave it out", param="text.format")
    base: Sampling = served.sampling
    given = {"max_tokens": body.max_output_tokens, "temperature": body.temperature, "top_p": body.top_p}
    kept = {name: getattr(base, name) for name in base.__slots__}
    sampling = Sampling(**{**kept, **{k: v for k, v in given.items() if v is not None}})
    options = {"overflow": "trim"} if body.truncation == "auto" else {}
    call = Call(served.id, body.messages(), sampling=sampling, options=options)
    ctx = context(request)
    if body.stream:
        return Answer(app, ctx, "responses", served.id, stream=_stream(app, body, call, ctx))

    async def whole() -> dict[str, Any]:
        done = Completion()
        async with closing(app.handler(call.model)(call, ctx)) as events:
            async for event in events:
                done.add(event)
        app.metrics.usage(call.model, done.usage)
        return _response(body, call, ctx, done)

    return Answer(app, ctx, "responses", served.id, whole=whole)


def _message(done: Completion, ctx: Ctx, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": done.text, "annotations": [], "logprobs": []}
    return {"id": f"msg-{ctx.trace}", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _response(body: ResponseRequest, call: Call, ctx: Ctx, done: Completion | None) -> dict[str, Any]:
    """A `response`; in progress when `done` is None."""
    reason = done.choices[0].reason if done is not None and done.choices else None
    if reason == "cancelled":
        raise Cancelled("the answer was cancelled before its end")
    status = "in_progress" if done is None else ("incomplete" if reason == "length" else "completed")
    shape: dict[str, Any] = {
        "id": f"resp-{ctx.trace}",
        "object": "response",
        "created_at": time.time(),
        "model": (done.model if done is not None else "") or call.model,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.instructions,
        "metadata": body.metadata or {},
        "output": [] if done is None else [_message(done, ctx, status)],
        "parallel_tool_calls": False,
        "temperature": call.sampling.temperature,
        "top_p": call.sampling.top_p,
        "tool_choice": "none",
        "tools": [],
        "usage": None,
    }
    if done is not None:
        used = done.usage
        shape["usage"] = {
            "input_tokens": used.prompt_tokens,
            "input_tokens_details": {"cached_tokens": used.cached_tokens},
            "output_tokens": used.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.prompt_tokens + used.completion_tokens,
        }
        shape |= shapes.extras(done, ctx.trace, None, None)
    return shape


async def _stream(app: App, body: ResponseRequest, call: Call, ctx: Ctx) -> AsyncGenerator[bytes, None]:
    number, done, place = -1, Completion(), {"item_id": f"msg-{ctx.trace}", "output_index": 0, "content_index": 0}

    def say(kind: str, **data: Any) -> bytes:
        nonlocal number
        number += 1
        return sse({"type": kind, "sequence_number": number, **data}, kind)

    async with closing(app.handler(call.model)(call, ctx)) as events:
        async for event in events:
            if number < 0:  # only now: an error before the first event still has its own status
                yield say("response.created", response=_response(body, call, ctx, None))
                empty = {**_message(Completion(), ctx, "in_progress"), "content": []}
                yield say("response.output_item.added", output_index=0, item=empty)
                part = {"type": "output_text", "text": "", "annotations": []}
                yield say("response.content_part.added", **place, part=part)
            done.add(event)
            if isinstance(event, Delta) and event.text:
                yield say("response.output_text.delta", **place, delta=event.text, logprobs=[])
    final = _response(body, call, ctx, done)
    app.metrics.usage(call.model, done.usage)
    item = final["output"][0]
    yield say("response.output_text.done", **place, text=done.text, logprobs=[])
    yield say("response.content_part.done", **place, part=item["content"][0])
    yield say("response.output_item.done", output_index=0, item=item)
    yield say("response.incomplete" if final["status"] == "incomplete" else "response.completed", response=final)
