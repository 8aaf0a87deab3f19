"""One request to a server under load, as its user sees it: when each piece of the answer came.

Only what every server understands is sent. A server that refuses `stream_options` is asked without it, and its tokens
are then the pieces that it sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

from idiolect.core.errors import BadInput, Unavailable
from idiolect.gateway.bench.plan import Asked

Endpoint = Literal["chat", "completions"]
PATHS = {"chat": "/chat/completions", "completions": "/completions"}


@dataclass(slots=True)
class Answer:
    """Seconds from the scheduled arrival: a request that had to wait for its turn waited. `started` is when it was
    really sent; the pieces' times are when each piece of text came."""

    at: float  # the scheduled arrival, after the beginning of the load
    started: float = 0.0
    pieces: list[float] = field(default_factory=list)
    end: float = 0.0
    tokens: int = 0  # generated, as the server counts them (else the pieces)
    prompt_tokens: int = 0
    reason: str = ""
    error: str = ""
    counted: bool = False  # the server told its usage

    @property
    def ttft(self) -> float | None:
        return self.pieces[0] if self.pieces else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between one piece of text and the next (a piece is a token, where the server sends each)."""
        return [b - a for a, b in zip(self.pieces, self.pieces[1:], strict=False)]

    @property
    def itl(self) -> float | None:
        """Mean seconds per token after the first; None when there was only one."""
        if len(self.pieces) < 2 or self.tokens < 2:
            return None
        return (self.pieces[-1] - self.pieces[0]) / (self.tokens - 1)


class Target:
    """A server's address, with or without `/v1`. `model` None: the first that it lists."""

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        endpoint: Endpoint = "chat",
        key: str | None = None,
        timeout: float = 300.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"{url!r} is no http(s) address", hint="give http://HOST:PORT", param="url")
        base = url.rstrip("/")
        self.base = base if base.endswith("/v1") else base + "/v1"
        self.model, self.endpoint, self._extra = model, endpoint, dict(extra or {})
        self._options = True
        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=10.0), limits=limits, headers=headers, trust_env=False
        )

    async def __aenter__(self) -> Target:
        """Checks that the server is there, and finds out what it serves."""
        try:
            if self.model is None:
                reply = await self._client.get(f"{self.base}/models")
                reply.raise_for_status()
                self.model = str(reply.json()["data"][0]["id"])
        except (httpx2.HTTPError, ValueError, LookupError, TypeError) as error:
            await self._client.aclose()
            why = str(error) or type(error).__name__
            raise Unavailable(
                f"{self.base}/models does not answer: {why}", hint="is the server running? else name the --model"
            ) from None
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._client.aclose()

    async def ask(self, asked: Asked, begin: float) -> Answer:
        """Send now; `begin` is `time.perf_counter()` at the beginning of the load. Never raises: an error counts."""
        answer = Answer(asked.at)
        due = begin + asked.at
        answer.started = time.perf_counter() - due
        try:
            await self._stream(asked, due, answer)
        except (httpx2.HTTPError, ValueError) as error:
            answer.error = f"{type(error).__name__}: {error}".rstrip(": ")
        except asyncio.CancelledError:
            answer.error = "cut off at the end of the measurement"
            raise
        finally:
            answer.end = time.perf_counter() - due
            if not answer.counted:
                answer.tokens = len(answer.pieces)
        if not answer.error and not answer.pieces and answer.tokens == 0:
            answer.error = "an empty answer"
        return answer

    async def metrics(self) -> str | None:
        """The server's own /metrics, where it has any."""
        try:
            reply = await self._client.get(self.base.removesuffix("/v1") + "/metrics")
        except httpx2.HTTPError:
            return None
        return reply.text if reply.status_code == 200 else None

    async def _stream(self, asked: Asked, due: float, answer: Answer) -> None:
        async with self._client.stream("POST", self.base + PATHS[self.endpoint], json=self._body(asked)) as reply:
            if reply.status_code in (400, 422) and self._options and b"stream_options" in await reply.aread():
                self._options = False
                return await self._stream(asked, due, answer)
            if reply.status_code != 200:
                answer.error = f"HTTP {reply.status_code}: {_short(await reply.aread())}"
                return None
            async for line in reply.aiter_lines():
                if line.startswith("data:") and (data := line[5:].strip()) and data != "[DONE]":
                    _read(json.loads(data), time.perf_counter() - due, answer)
        return None

    def _body(self, asked: Asked) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "max_tokens": asked.max_tokens, "stream": True, "temperature": 0}
        if self._options:
            body["stream_options"] = {"include_usage": True}
        chat = self.endpoint == "chat"
        if chat:
            text = asked.prompt
            body["messages"] = [{"role": "user", "content": text}] if isinstance(text, str) else list(text)
        elif isinstance(asked.prompt, str):
            body["prompt"] = asked.prompt
        else:
            body["prompt"] = "\n".join(str(m.get("content", "")) for m in asked.prompt)
        return body | self._extra


def _read(chunk: Mapping[str, Any], now: float, answer: Answer) -> None:
    if chunk.get("error"):
        error = chunk["error"]
        answer.error = str(error.get("message") if isinstance(error, dict) else error)
    for choice in chunk.get("choices") or ():
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        if text:
            answer.pieces.append(now)
        answer.reason = choice.get("finish_reason") or answer.reason
    usage = chunk.get("usage")
    if usage and usage.get("completion_tokens") is not None:
        answer.tokens, answer.counted = int(usage["completion_tokens"]), True
        answer.prompt_tokens = int(usage.get("prompt_tokens") or 0)


def _short(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:160]
