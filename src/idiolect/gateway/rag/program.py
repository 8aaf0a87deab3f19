"""The RAG program: rewrite the question, retrieve, decide whether there is anything to say, quote or generate.

Events, in order: Started, notes, Retrieved, Mode, then those of the mode (quoting.py, generating.py) or a refusal.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from idiolect.core import prompts
from idiolect.core.call import (
    Call,
    Cited,
    Ctx,
    Delta,
    Event,
    Finished,
    Handler,
    Message,
    Mode,
    Note,
    Passage,
    Prompted,
    Retrieved,
    Sampling,
    Started,
    Timing,
    Usage,
)
from idiolect.core.config import from_dict
from idiolect.core.errors import BadInput, IdiolectError
from idiolect.gateway.local import LocalModel
from idiolect.gateway.rag import probe, rewrite
from idiolect.gateway.rag.generating import generating
from idiolect.gateway.rag.pack import Count, estimate
from idiolect.gateway.rag.quoting import quoting
from idiolect.gateway.streams import closing
from idiolect.retrieval.quote import DEPTH, shortlist
from idiolect.retrieval.refuse import Relevance, relevance
from idiolect.retrieval.remember import Remembering

if TYPE_CHECKING:
    from idiolect.retrieval import Library

Answering = Literal["auto", "quote", "generate"]
MODES = ("auto", "quote", "generate")


@dataclass(frozen=True, slots=True)
class RagConfig:
    """How answers over documents are made. `mode` "auto" lets the probe decide; `passages` are retrieved, of which
    those are packed that fit into `passage_tokens`; `depth` sentences are read by the model in quote mode; `context`
    is the context of an upstream, which does not tell it; `refuse` off answers whatever was found."""

    mode: Answering = "auto"
    passages: int = 10
    passage_tokens: int = 1200
    depth: int = DEPTH
    context: int = 4096
    refuse: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadInput(f"mode is {self.mode!r}", hint="give auto, quote or generate", param="mode")
        for name, least in (("passages", 1), ("passage_tokens", 64), ("depth", 1), ("context", 256)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}", hint=f"give at least {least}", param=name)


class Rag:
    """`Rag(library, handler, passages=8)` is a handler; the keywords are `RagConfig`'s fields.

    `call.options`: `mode` (auto, quote, generate), `length` and `expertise` (1 to 5, default 3). In quote mode
    `length` is the number of sentences and `expertise` changes nothing. With a `LocalModel` the constructor runs the
    probe once for each model (some seconds; kept afterwards), so call it off the event loop.
    """

    def __init__(self, library: Library, handler: Handler, **config: Any) -> None:
        self.library, self.handler = library, handler
        self.config = from_dict(RagConfig, config, "rag")
        self.local = handler if isinstance(handler, LocalModel) else None
        self.embedder = Remembering(library.embedder) if library.embedder is not None else None
        self.default_mode, self.why = self._measure()

    async def aclose(self) -> None:
        close = getattr(self.handler, "aclose", None)
        if close is not None:
            await close()

    def _measure(self) -> tuple[str, str]:
        """The mode of "auto", and the measured reason."""
        if self.config.mode != "auto":
            return self.config.mode, "the configuration says so"
        if self.local is None:
            return "generate", "the model runs elsewhere and was not measured"
        if self.local.model.template is None:
            return "quote", "the model has no chat template, so it cannot be asked to answer"
        found = probe.measured(self.local.identity, self._replies)
        return ("generate" if found.passed else "quote"), found.why

    def _replies(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        assert self.local is not None and self.local.model.template is not None
        ids = [self.local.model.template.render(turns).ids for turns in conversations]
        how = Sampling(temperature=0.0, max_tokens=probe.MOST_TOKENS)
        return [result.text for result in self.local.engine.generate(ids, how)]

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncGenerator[Event, None]:
        ctx.check()
        wish, length, expertise = _options(call)
        if call.prompt is not None or not any(m.role == "user" for m in call.messages):
            raise BadInput("there is no question to answer", hint="send messages, the last one from the user")
        yield Started(f"rag-{uuid.uuid4().hex}", call.model, time.time())
        mode, why = (self.default_mode, self.why) if wish == "auto" else (wish, f"asked for; {self.why}")
        query = ""
        async for event in self._query(call, ctx, mode):
            if isinstance(event, str):
                query = event
            else:
                yield event
        question = self._focus(call, query)
        for note in self._state_notes():
            yield note

        begin = time.perf_counter()
        passages = await asyncio.to_thread(self.library.search, query, self.config.passages)
        yield Timing("retrieve", time.perf_counter() - begin)
        yield Retrieved(query, tuple(passages))
        for note in _stale(passages):
            yield note
        ctx.check()

        begin = time.perf_counter()
        embedder, terms = self.embedder, self.library.tokeniser
        short = await asyncio.to_thread(
            shortlist, question, passages, embedder=embedder, terms=terms, depth=self.config.depth
        )
        found = relevance(short.features, encoder=embedder is not None)
        yield Timing("rank", time.perf_counter() - begin)
        ctx.check()

        if not short.found or (self.config.refuse and not found.relevant):
            for event in self._refuse(call, passages, found):
                yield event
            return
        yield Mode(mode, why)
        if mode == "quote":
            if self.local is None:
                yield Note(
                    "no_likelihood", "the model cannot score sentences here; words and meaning alone ranked them"
                )
            if call.options.get("expertise") is not None:
                yield Note("unused", "expertise changes generated answers only; quotes are verbatim")
            events: AsyncGenerator[Event, None] = quoting(call, ctx, self.local, short, most=length)
        else:
            events = generating(
                call,
                ctx,
                self.handler,
                question,
                passages,
                count=self._count(call),
                context=self.local.context if self.local is not None else self.config.context,
                passage_tokens=self.config.passage_tokens,
                embedder=embedder,
                terms=terms,
                length=length,
                expertise=expertise,
            )
        async with closing(events) as stream:
            async for event in stream:
                yield event

    # --------------------------------------------------------------------------------------------- the stages

    def _focus(self, call: Call, query: str) -> str:
        """What sentences are ranked for. The words that a follow-up borrows find the passages; among the sentences
        they would favour what was said already, so the user's own words rank those, when they have any topic."""
        last = next(m.content for m in reversed(call.messages) if m.role == "user")
        terms = self.library.tokeniser
        borrowed = query.startswith(last) and query != last
        return last if borrowed and rewrite.has_topic(last, terms) else query

    async def _query(self, call: Call, ctx: Ctx, mode: str) -> AsyncGenerator[Event | str, None]:
        """The text to search for (the only text among the events), and how it came to be."""
        begin = time.perf_counter()
        terms = self.library.tokeniser
        asked = [m.content for m in call.messages if m.role == "user"]
        query, added = rewrite.standalone(call.messages, terms)
        if added:
            if mode == "generate":
                async for event in self._rewritten(call, ctx):
                    if isinstance(event, str):
                        query = event
                    else:
                        yield event
            yield Note("rewritten", f"searched for: {query}", {"question": asked[-1], "query": query})
            yield Timing("rewrite", time.perf_counter() - begin)
        yield query

    async def _rewritten(self, call: Call, ctx: Ctx) -> AsyncGenerator[Event | str, None]:
        """The model's own rewrite, when it is of use; a failure only means that the rule's is taken."""
        last = max(i for i, m in enumerate(call.messages) if m.role == "user")
        prompt = prompts.load("rag/rewrite")
        messages = prompt.messages(
            history=rewrite.transcript(call.messages[: last + 1]), question=call.messages[last].content
        )
        inner = Call(call.model, messages, sampling=Sampling(**prompt.sampling))
        text = ""
        try:
            async with closing(self.handler(inner, ctx)) as events:
                async for event in events:
                    if isinstance(event, Prompted):
                        yield replace(event, purpose="rewrite")
                    elif isinstance(event, Delta):
                        text += event.text
        except IdiolectError as error:
            ctx.check()
            yield Note("rewrite_failed", error.message)
            return
        better = rewrite.acceptable(text)
        if better is not None:
            yield better

    def _state_notes(self) -> list[Note]:
        """What makes this answer worse than it could be."""
        notes = []
        if self.library.embedder is None:
            notes.append(Note("no_encoder", "there is no encoder; passages and sentences are ranked by words alone"))
        every, missing = len(self.library), self.library.missing
        if self.library.indexing or missing:
            what = f"{every - missing} of {every} passages have their vectors so far; the others are found by words"
            still = "the documents are still being indexed: " if self.library.indexing else ""
            notes.append(Note("indexing", still + what))
        return notes

    def _refuse(self, call: Call, passages: Sequence[Passage], found: Relevance) -> list[Event]:
        names = list(dict.fromkeys(p.document for p in passages))[:3]
        text = prompts.load("rag/refusal").text(nearest=", ".join(names), empty=len(self.library) == 0)
        events: list[Event] = [Mode("refuse", found.why if passages else "nothing was found")]
        events += [Delta(text, index) for index in range(call.n)]
        events.append(Cited(()))
        return events + [Finished("refused", Usage(), index) for index in range(call.n)]

    def _count(self, call: Call) -> Count:
        """Exact with a local model; a bound otherwise."""
        if self.local is None or self.local.model.template is None:
            return estimate
        template = self.local.model.template
        return lambda messages: len(template.render(messages, tools=call.tools).ids)


def _options(call: Call) -> tuple[str, int, int]:
    mode = call.options.get("mode") or "auto"
    if mode not in MODES:
        raise BadInput(f"mode is {mode!r}", hint="give auto, quote or generate", param="mode")
    sliders = []
    for name in ("length", "expertise"):
        value = call.options.get(name)
        value = 3 if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
            raise BadInput(f"{name} is {value!r}", hint="give 1 to 5", param=name)
        sliders.append(value)
    return mode, sliders[0], sliders[1]


def _stale(passages: Sequence[Passage]) -> list[Note]:
    """Documents that are no longer what was indexed."""
    moved = sorted({p.document for p in passages if p.freshness != "fresh"})
    if not moved:
        return []
    return [Note("stale", f"changed or gone since they were indexed: {', '.join(moved)}", {"documents": moved})]
