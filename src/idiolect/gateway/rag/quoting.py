"""Quote mode: the chosen sentences, word for word, each with its mark; no word of the model's own.

With a local model the answer is also read by it, token by token (teacher-forced), so that the trace shows how likely
the model found every token of the quotes after the prompt, and what it would have said instead.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence

from idiolect.core import prompts
from idiolect.core.call import (
    Call,
    Citation,
    Cited,
    Ctx,
    Delta,
    Event,
    Finished,
    Note,
    Passage,
    Prompted,
    Timing,
    TokenInfo,
    Usage,
)
from idiolect.gateway.local import LocalModel
from idiolect.gateway.rag.pack import numbered
from idiolect.retrieval.likelihood import MOST_TOKENS, clip, items, totals
from idiolect.retrieval.quote import SURE, Quote, Shortlist, choose

TOP = 5  # alternatives in the trace when the caller names no number


async def likelihoods(local: LocalModel, short: Shortlist, ctx: Ctx, found: list[float]) -> AsyncGenerator[Event, None]:
    """Put the log-likelihood of the question given each shortlisted sentence into `found`. One prompt each, shown."""
    begin = time.perf_counter()
    tokenizer = local.model.tokenizer
    scored = items(tokenizer, short.found, short.question)
    for item in scored:
        yield Prompted(tuple(item.ids), tuple(tokenizer.piece(t) for t in item.ids), purpose="score")
    found.extend(totals(await local.engine.ascore(scored, 0, ctx.cancel)))
    yield Timing("likelihood", time.perf_counter() - begin)


async def quoting(
    call: Call, ctx: Ctx, local: LocalModel | None, short: Shortlist, *, most: int
) -> AsyncGenerator[Event, None]:
    """Everything after the mode is known: deltas (one for each sentence), citations, the end of every choice."""
    found: list[float] = []
    if local is not None:
        async for event in likelihoods(local, short, ctx, found):
            yield event
    quotes = choose(short, found or None, most, SURE if most <= 3 else 1.0)
    texts = segments(quotes)
    tokens: list[tuple[TokenInfo, ...]] = [() for _ in texts]
    usage, reason = Usage(), "stop"
    if local is not None:
        begin = time.perf_counter()
        head = prompt_ids(local, short.question, quotes)
        parts = [local.model.tokenizer.encode(text) for text in texts]
        limit = call.sampling.max_tokens
        if limit is not None and sum(map(len, parts)) > limit:
            texts, parts, reason = cut(local, texts, parts, limit), within(parts, limit), "length"
        answer = [token for part in parts for token in part]
        yield Prompted(tuple(head), tuple(local.model.tokenizer.piece(t) for t in head))
        if len(head) + len(answer) > local.context:
            yield Note("not_scored", "the quotes are too long for the model to read, so the trace has no probabilities")
            tokens = [() for _ in texts]
        else:
            from idiolect.engine import Scored

            top = TOP if call.sampling.logprobs is None else call.sampling.logprobs
            infos = iter((await local.engine.ascore([Scored((*head, *answer), len(head))], top, ctx.cancel))[0])
            tokens = [tuple(next(infos) for _ in part) for part in parts]
        usage = Usage(len(head), len(answer))
        yield Timing("trace", time.perf_counter() - begin)
    for index in range(call.n):
        for text, infos_of in zip(texts, tokens, strict=True):
            yield Delta(text, index, infos_of)
    yield Cited(cite(quotes[: len(texts)]))
    for index in range(call.n):
        yield Finished("length" if reason == "length" else "stop", usage, index)


def segments(quotes: Sequence[Quote]) -> list[str]:
    """What each quote adds to the answer: the sentence, its mark, a blank line before the next."""
    texts = [f"{quote.text} [{i}]" for i, quote in enumerate(quotes, start=1)]
    return [text + ("\n\n" if i < len(texts) - 1 else "") for i, text in enumerate(texts)]


def cite(quotes: Sequence[Quote]) -> tuple[Citation, ...]:
    """The citations of the quotes, numbered from 1. A quote supports itself."""
    return tuple(Citation(i, q.passage, q.text, q.span, True) for i, q in enumerate(quotes, start=1))


def prompt_ids(local: LocalModel, question: str, quotes: Sequence[Quote]) -> list[int]:
    """What the model has read when it reads the quotes: the question and the numbered sources, each the quoted
    sentence with the one before it."""
    tokenizer, sources = local.model.tokenizer, []
    for quote in quotes:
        text = clip(tokenizer, f"{quote.lead} {quote.text}".strip(), MOST_TOKENS)
        sources.append(
            Passage(
                quote.passage.id, quote.passage.document, text, quote.span, quote.passage.heading, quote.passage.page
            )
        )
    values = {"question": question, "passages": numbered(sources)}
    if local.model.template is None:
        return tokenizer.encode(prompts.load("rag/quote_raw").text(**values) + " ", bos=True)
    return local.model.template.render(prompts.load("rag/quote").messages(**values)).ids


def within(parts: Sequence[list[int]], limit: int) -> list[list[int]]:
    """The first `limit` ids, in their parts; empty parts are dropped."""
    kept = []
    for part in parts:
        if limit <= 0:
            break
        kept.append(part[:limit])
        limit -= len(part)
    return kept


def cut(local: LocalModel, texts: Sequence[str], parts: Sequence[list[int]], limit: int) -> list[str]:
    """The texts of `within`: whole ones as they are, the last one decoded from what is left of it."""
    kept = within(parts, limit)
    return [
        texts[i] if len(part) == len(parts[i]) else local.model.tokenizer.decode(part) for i, part in enumerate(kept)
    ]
