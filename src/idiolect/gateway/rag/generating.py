"""Generate mode: the model answers in its own words from numbered passages; every sentence is checked afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from idiolect.core.call import Call, Cited, Ctx, Delta, Event, Finished, Handler, Passage, Prompted, Started, Timing
from idiolect.gateway.rag import claims
from idiolect.gateway.rag.pack import Count, pack
from idiolect.gateway.streams import closing

if TYPE_CHECKING:
    from idiolect.core.call import Citation
    from idiolect.retrieval.features import Terms
    from idiolect.retrieval.types import Embedder

ANSWER_TOKENS = {1: 96, 2: 192, 3: 384, 4: 768, 5: 1536}  # by length, when the caller names no limit


async def generating(
    call: Call,
    ctx: Ctx,
    handler: Handler,
    question: str,
    passages: Sequence[Passage],
    *,
    count: Count,
    context: int,
    passage_tokens: int,
    embedder: Embedder | None,
    terms: Terms,
    length: int,
    expertise: int,
) -> AsyncGenerator[Event, None]:
    """Everything after the mode is known. Prompt and answer never exceed `context` tokens together."""
    room = min(call.sampling.max_tokens or ANSWER_TOKENS[length], max(1, context // 2))
    packed = pack(
        question,
        passages,
        call.messages,
        count=count,
        budget=context - room,
        passage_budget=passage_tokens,
        length=length,
        expertise=expertise,
    )
    options = {k: v for k, v in call.options.items() if k not in ("mode", "length", "expertise")}
    sampling = replace(call.sampling, max_tokens=room)
    inner = replace(call, messages=packed.messages, sampling=sampling, options=options)
    texts = dict.fromkeys(range(call.n), "")
    known: dict[int, Citation] = {}
    async with closing(handler(inner, ctx)) as events:
        async for event in events:
            match event:
                case Started():
                    continue  # this program has said it already
                case Prompted():
                    trimmed = "; ".join(x for x in (packed.trimmed, event.trimmed) if x)
                    yield replace(event, trimmed=trimmed)
                case Delta():
                    texts[event.index] += event.text
                    yield event
                case Finished():
                    begin = time.perf_counter()
                    checked = await asyncio.to_thread(
                        claims.check, texts[event.index], packed.passages, embedder, question=question, terms=terms
                    )
                    for citation in claims.citations(checked, packed.passages):
                        before = known.get(citation.number)
                        both = citation.supported and (before is None or before.supported)
                        known[citation.number] = replace(before or citation, supported=bool(both))
                    for note in claims.notes(checked, packed.passages, event.index):
                        yield note
                    yield Cited(tuple(known[n] for n in sorted(known)))
                    yield Timing("check", time.perf_counter() - begin)
                    yield event
                case _:
                    yield event
