"""Answers from the engine, many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from idiolect.core.errors import BadInput, IdiolectError
from idiolect.evals.types import Failed, Generate, Generated, Reply


async def write(
    engine: Any, model: Any, requests: Sequence[Generate], *, width: int
) -> AsyncIterator[tuple[int, Reply]]:
    """(index, answer) as they end; `width` of them are in the engine at a time."""
    gate = asyncio.Semaphore(width)

    async def one(index: int) -> tuple[int, Reply]:
        async with gate:
            try:
                return index, await _answer(engine, model, requests[index])
            except IdiolectError as error:
                return index, Failed(str(error))

    tasks = [asyncio.create_task(one(i)) for i in range(len(requests))]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()


def ids_of(model: Any, request: Generate) -> list[int]:
    if request.prompt is not None:
        return list(model.tokenizer.encode(request.prompt, bos=True))
    if model.template is None:
        raise BadInput(f"{model.id} has no chat template", hint="ask in plain text (format: plain)")
    return list(model.template.render(list(request.messages)).ids)


async def _answer(engine: Any, model: Any, request: Generate) -> Generated:
    ids = ids_of(model, request)
    begin = time.perf_counter()
    text: list[str] = []
    tokens: list[Any] = []
    last = None
    async for output in engine.stream(ids, request.sampling):
        text.append(output.text)
        tokens += output.tokens
        last = output
    assert last is not None
    scored = request.sampling.logprobs is not None
    return Generated(
        "".join(text),
        last.finish,
        last.usage,
        tuple(t.logprob if t.logprob is not None else float("nan") for t in tokens) if scored else None,
        tuple(tuple((piece, value) for _, piece, value in t.top) for t in tokens) if request.sampling.logprobs else (),
        model=model.id,
        seconds=time.perf_counter() - begin,
        ttft=last.metrics.ttft,
    )
