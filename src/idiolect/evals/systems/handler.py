"""Any `core.call.Handler` as a system: a RAG program, an upstream, a layered model, an agent. It writes answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from idiolect.core.call import Call, Completion, Ctx, Delta, Handler, Passage, Retrieved
from idiolect.core.errors import IdiolectError, Overloaded, Unavailable
from idiolect.evals.types import Failed, Generate, Generated, Kind, Reply, Request

GIVE_UP = 8  # failures in a row that mean that nothing answers any more


class HandlerSystem:
    """`fingerprint` is what the caller knows of everything behind the handler: weights, prompts, index, settings.
    `options` go with every call, under those of the request. `about` and `runner` are words for a report. `width`
    requests are under way at a time."""

    kinds: frozenset[Kind] = frozenset({"generate"})

    def __init__(
        self,
        handler: Handler,
        name: str,
        fingerprint: str,
        *,
        model: str = "",
        options: Mapping[str, Any] | None = None,
        about: Mapping[str, str] | None = None,
        runner: str = "",
        width: int = 4,
    ) -> None:
        self.handler, self.name, self.fingerprint = handler, name, fingerprint
        self._model, self._options, self._width = model or name, dict(options or {}), width
        self.about, self._runner = dict(about or {}), runner

    def by(self, request: Request) -> str:
        """Who computes a reply, where it is known."""
        return self._runner

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        gate = asyncio.Semaphore(self._width)
        failed = 0

        async def one(index: int, request: Request) -> tuple[int, Reply, IdiolectError | None]:
            async with gate:
                if not isinstance(request, Generate):
                    kind = type(request).__name__.lower()
                    return index, Failed(f"{self.name} writes text and cannot answer a {kind} request"), None
                try:
                    return index, await self._written(request), None
                except IdiolectError as error:
                    return index, Failed(str(error)), error

        tasks = [asyncio.create_task(one(i, r)) for i, r in enumerate(requests)]
        try:
            for done in asyncio.as_completed(tasks):
                index, reply, error = await done
                failed = failed + 1 if isinstance(error, (Unavailable, Overloaded)) else 0
                if error is not None and failed >= min(GIVE_UP, len(requests)):
                    raise error
                yield index, reply
        finally:
            for task in tasks:
                task.cancel()

    async def _written(self, request: Generate) -> Generated:
        options = {**self._options, **request.options}
        call = Call(self._model, request.messages, request.prompt, request.sampling, options=options)
        begin = time.perf_counter()
        first: float | None = None
        done = Completion()
        passages: tuple[Passage, ...] = ()
        async for event in self.handler(call, Ctx()):
            if isinstance(event, Delta) and event.text and first is None:
                first = time.perf_counter() - begin
            if isinstance(event, Retrieved):
                passages = event.passages
            done.add(event)
        choice = done.choice(0)
        values = [t.logprob for t in choice.tokens if t.logprob is not None]
        scored = request.sampling.logprobs is not None and bool(values)
        return Generated(
            choice.text,
            choice.reason,
            done.usage,
            tuple(values) if scored else None,
            tuple(tuple((piece, value) for _, piece, value in t.top) for t in choice.tokens) if scored else (),
            done.citations,
            passages,
            done.mode.mode if done.mode is not None else "",
            done.model,
            time.perf_counter() - begin,
            first,
        )
