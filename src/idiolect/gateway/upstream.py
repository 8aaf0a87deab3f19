"""Any server that speaks OpenAI's protocol, as a handler.

Always streams from the upstream, so that there is one path; a complete answer is a fold here as everywhere. Closing
the stream, or tripping `ctx.cancel`, closes the connection, which tells the upstream to stop.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx2

from idiolect.core.call import (
    Call,
    Ctx,
    Delta,
    Event,
    Finished,
    FinishReason,
    Note,
    Prompted,
    Started,
    Timing,
    TokenInfo,
    Usage,
)
from idiolect.core.errors import BadInput, Cancelled, ContextOverflow, IdiolectError, Overloaded, Unavailable
from idiolect.gateway import wire
from idiolect.gateway.streams import tripped

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refused",
}


class Secret:
    """A key that does not show itself in a repr, a log or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class UpstreamBusy(Overloaded):
    """The upstream said 429; `retry_after` is what it asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message, hint="the upstream is busy; try again later")
        self.retry_after = retry_after


class UpstreamRefused(Unavailable):
    """The upstream does not accept our key; trying again cannot help."""

    permanent = True


class Upstream:
    """`Upstream("http://host:port/v1", "their-model", key)` is a handler. `timeout` seconds may pass without a byte,
    `connect` seconds until the connection stands."""

    def __init__(
        self, base_url: str, model: str, key: str | None = None, *, timeout: float = 300.0, connect: float = 5.0
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise BadInput(f"upstream address {base_url!r} is no http(s) address", hint="give http://host:port/v1")
        self.base_url = base_url.rstrip("/")
        self.model = model
        self._key = Secret(key) if key else None
        self._timeout = httpx2.Timeout(timeout, connect=connect)
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncGenerator[Event, None]:
        ctx.check()
        chat = call.prompt is None
        headers = {"authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        request = self._http().build_request(
            "POST",
            f"{self.base_url}/{'chat/completions' if chat else 'completions'}",
            json=body(call, self.model),
            headers=headers,
        )
        gone = tripped(ctx)
        begin = time.perf_counter()
        try:
            response = await _unless(gone, self._http().send(request, stream=True))
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            if response.status_code != 200:
                raise refusal(response.status_code, await response.aread(), response.headers)
            reader = _Reader(call, chat)
            first = True
            async for chunk in self._chunks(response, gone, ctx):
                if first:
                    first = False
                    yield Started(chunk.get("id", ""), chunk.get("model") or self.model, time.time())
                    yield Prompted(messages=call.messages)
                    yield Timing("upstream", time.perf_counter() - begin)
                for event in reader.read(chunk):
                    yield event
            for event in reader.end():
                yield event
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # ------------------------------------------------------------------------------------------------- details

    def _http(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # a client belongs to the loop that it was made in
            limits = httpx2.Limits(max_connections=256, max_keepalive_connections=32)
            self._client, self._loop = httpx2.AsyncClient(timeout=self._timeout, limits=limits), loop
        return self._client

    async def _chunks(
        self, response: httpx2.Response, gone: asyncio.Future[None], ctx: Ctx
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The JSON objects of the server-sent events until `[DONE]`."""
        lines = aiter(response.aiter_lines())
        while True:
            ctx.check()
            try:
                line = await _unless(gone, anext(lines))
            except StopAsyncIteration:
                raise Unavailable(f"{self.base_url} closed the stream before its end") from None
            except httpx2.HTTPError as error:
                raise self._unreachable(error) from error
            if not line.startswith("data:"):
                continue
            data = line[5:].strip()
            if data == "[DONE]":
                return
            try:
                chunk = json.loads(data)
            except ValueError as error:
                raise Unavailable(f"{self.base_url} sent a line that is no JSON: {data[:80]!r}") from error
            if "error" in chunk:
                raise refusal(500, data.encode(), response.headers)
            yield chunk

    def _unreachable(self, error: httpx2.HTTPError) -> Unavailable:
        if isinstance(error, httpx2.TimeoutException):
            return Unavailable(f"{self.base_url} did not answer in time", hint="raise the upstream's timeout")
        what = str(error) or type(error).__name__
        return Unavailable(f"{self.base_url} cannot be reached: {what}", hint="is the server running there?")


class _Reader:
    """Chunks to events. Usage comes after the last choice, so every `Finished` waits for the end."""

    def __init__(self, call: Call, chat: bool) -> None:
        self._chat, self._usage = chat, Usage()
        self._reasons: dict[int, FinishReason] = {}
        self._calls: dict[tuple[int, int], dict[str, str]] = {}  # (choice, tool call) -> id, name, arguments so far
        self._seen = dict.fromkeys(range(call.n), 0)

    def read(self, chunk: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        if chunk.get("usage"):
            usage = chunk["usage"]
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            self._usage = Usage(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cached)
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            delta = choice.get("delta") or {}
            text = (delta.get("content") if self._chat else choice.get("text")) or ""
            tokens = _chat_tokens(choice) if self._chat else _completion_tokens(choice)
            if text or tokens:
                self._seen[index] = self._seen.get(index, 0) + max(1, len(tokens))
                events.append(Delta(text, index, tokens))
            for part in delta.get("tool_calls") or ():
                made = self._calls.setdefault((index, part.get("index", 0)), {"id": "", "name": "", "arguments": ""})
                function = part.get("function") or {}
                made["id"] = part.get("id") or made["id"]
                made["name"] += function.get("name") or ""
                made["arguments"] += function.get("arguments") or ""
            if choice.get("finish_reason"):
                self._reasons[index] = _REASONS.get(choice["finish_reason"], "stop")
        return events

    def end(self) -> list[Event]:
        """A `tool_call` note for every call the model wants, then every `Finished`."""
        events: list[Event] = [
            Note("tool_call", f"the model calls {made['name']}", {"index": index, **made})
            for (index, _), made in sorted(self._calls.items())
        ]
        for index in sorted(self._seen):
            share = Usage(
                self._usage.prompt_tokens,
                # The upstream counts all choices together: the sum stands with the first, unless it told nothing.
                (self._usage.completion_tokens if index == 0 else 0) if self._usage != Usage() else self._seen[index],
                self._usage.cached_tokens,
            )
            events.append(Finished(self._reasons.get(index, "stop"), share, index))
        return events


def body(call: Call, model: str) -> dict[str, Any]:
    """The request's JSON. Only settings that differ from OpenAI's defaults are sent: many servers refuse others."""
    s = call.sampling
    shape: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if call.prompt is None:
        shape["messages"] = [wire.message(m) for m in call.messages]
        if s.logprobs is not None:
            shape |= {"logprobs": True, "top_logprobs": s.logprobs} if s.logprobs else {"logprobs": True}
    else:
        shape["prompt"] = list(call.prompt) if isinstance(call.prompt, tuple) else call.prompt
        if s.logprobs is not None:
            shape["logprobs"] = s.logprobs
        if call.options.get("echo"):
            shape["echo"] = True
    if call.tools:
        shape["tools"] = [dict(tool) for tool in call.tools]
    for name in ("tool_choice", "response_format"):
        if call.options.get(name) is not None:
            shape[name] = call.options[name]
    neutral: dict[str, Any] = {
        "max_tokens": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": None,
        "ignore_eos": False,
    }
    shape |= {name: getattr(s, name) for name, value in neutral.items() if getattr(s, name) != value}
    if s.stop:
        shape["stop"] = list(s.stop)
    if s.stop_ids:
        shape["stop_token_ids"] = list(s.stop_ids)
    if s.logit_bias:
        shape["logit_bias"] = {str(token): bias for token, bias in s.logit_bias.items()}
    if call.n != 1:
        shape["n"] = call.n
    return shape


def refusal(status: int, content: bytes, headers: Mapping[str, str]) -> IdiolectError:
    """The upstream's error as ours, in its own words."""
    code, param = "", None
    try:
        error = json.loads(content)["error"]
        text = error if isinstance(error, str) else str(error.get("message") or error)
        if isinstance(error, dict):
            code, param = str(error.get("code") or ""), error.get("param")
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace")[:200].strip() or f"status {status}"
    text = f"the upstream says: {text}"
    if status == 429:
        try:
            wait = float(headers["retry-after"])
        except (KeyError, ValueError):
            wait = None
        return UpstreamBusy(text, wait)
    if status in (401, 403):
        return UpstreamRefused(text, hint="check the upstream's key")
    if code == ContextOverflow.code:
        return ContextOverflow(text, param=param)
    if 400 <= status < 500 and status != 408:
        return BadInput(text, param=param)
    return Unavailable(text, hint="try again later")


def _chat_tokens(choice: Mapping[str, Any]) -> tuple[TokenInfo, ...]:
    content = (choice.get("logprobs") or {}).get("content") or ()
    return tuple(
        TokenInfo(
            -1,
            item["token"],
            item["logprob"],
            tuple((-1, top["token"], top["logprob"]) for top in item.get("top_logprobs") or ()),
            bytes(item["bytes"]) if item.get("bytes") is not None else item["token"].encode(),
        )
        for item in content
    )


def _completion_tokens(choice: Mapping[str, Any]) -> tuple[TokenInfo, ...]:
    found = choice.get("logprobs") or {}
    tokens, logprobs = found.get("tokens") or (), found.get("token_logprobs") or ()
    tops = found.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        TokenInfo(-1, text, logprob, tuple((-1, t, lp) for t, lp in (top or {}).items()), text.encode())
        for text, logprob, top in zip(tokens, logprobs, tops)
    )


async def _unless(gone: asyncio.Future[None], work: Any) -> Any:
    """Await `work`, but raise `Cancelled` as soon as `gone` ends."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
    if task.done() and not task.cancelled():
        return task.result()
    raise Cancelled("the request was cancelled")
