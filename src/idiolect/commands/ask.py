"""`idiolect ask` and `idiolect chat`: the same application as the server's, in the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from idiolect.commands import show
from idiolect.commands.settings import Json, Options, check_folder, configure
from idiolect.core.call import Call, Citation, Cited, Completion, Ctx, Delta, Message, Note, Sampling
from idiolect.core.errors import BadInput, IdiolectError

if TYPE_CHECKING:
    from idiolect.gateway.app import App
    from idiolect.gateway.config import AppConfig

Mode = Literal["auto", "quote", "generate"]
WAIT = 128  # passages whose vectors an answer waits for, a few seconds; when more have none, words alone find them
UNSAID = ("speed", "unsupported", "tool_call")  # notes for the trace; `_sources` says what is not supported
Level = Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=5))]
Docs = Annotated[Path | None, Parameter(name=["--docs", "-d"])]


@dataclass(frozen=True, slots=True)
class Manner:
    """How to answer: what the page's controls say, as request options."""

    mode: Mode = "auto"
    length: int | None = None
    expertise: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields of Sampling; None: the model's own

    def __post_init__(self) -> None:
        self.over(Sampling())  # a value out of range shows before a model is loaded

    def over(self, base: Sampling) -> Sampling:
        return replace(base, **{name: value for name, value in self.sampling.items() if value is not None})

    def options(self) -> dict[str, Any]:
        given = {"mode": self.mode, "length": self.length, "expertise": self.expertise}
        return {name: value for name, value in given.items() if value not in (None, "auto")}


def ask(
    question: str,
    /,
    *,
    docs: Docs = None,
    mode: Mode = "auto",
    length: Level = None,
    expertise: Level = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    json: Json = False,
    options: Options | None = None,
) -> int:
    """Answer one question in the terminal, with sources.

    In a new folder the passages are found by their words, so that the answer need not wait. The vectors, which find
    what is said in other words, are made after it, in a terminal; `idiolect index` makes them before.

    Parameters
    ----------
    question
        The question; "-" reads it from standard input.
    docs
        The folder to answer from; without one the bare model answers.
    mode
        quote shows the best sentences of the documents, word for word; generate writes an answer; auto takes what the
        model was measured to be good for.
    length
        1 (a line) to 5 (a page).
    expertise
        1 (a beginner asks) to 5 (an expert asks).
    max_tokens
        The most tokens to write.
    temperature
        0 takes the likeliest token each time (default: what the model's makers advise).
    seed
        The same seed gives the same answer.
    """
    if question == "-":
        question = sys.stdin.read()
    if not question.strip():
        raise BadInput("the question is empty", hint='write: idiolect ask "..." --docs FOLDER')
    manner = Manner(mode, length, expertise, {"max_tokens": max_tokens, "temperature": temperature, "seed": seed})

    async def run(app: App) -> int:
        call = _call(app, [Message("user", question)], manner)
        ctx = Ctx(store=app.store, seed=seed)
        done = await _answer(app, call, ctx, quiet=json)
        if json:
            show.emit(_report(done, ctx))
        else:
            _sources(done.citations)
        sys.stdout.flush()
        await _rest(app)
        return 0

    return _with_app(configure(options, docs), run)


def chat(
    docs: Path | None = None,
    /,
    *,
    mode: Mode = "auto",
    length: Level = None,
    expertise: Level = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    options: Options | None = None,
) -> int:
    """Talk in the terminal, over documents or with the bare model. An empty line or Ctrl-D ends it.

    Parameters
    ----------
    docs
        The folder to answer from; without one the bare model talks.
    mode
        quote, generate, or auto.
    length
        1 (a line) to 5 (a page).
    expertise
        1 (a beginner asks) to 5 (an expert asks).
    max_tokens
        The most tokens of one answer.
    temperature
        0 takes the likeliest token each time (default: what the model's makers advise).
    """
    manner = Manner(mode, length, expertise, {"max_tokens": max_tokens, "temperature": temperature})

    async def run(app: App) -> int:
        show.say(f"{app.model_id} listens; an empty line ends")
        said: list[Message] = []
        while question := await asyncio.to_thread(_line):
            said.append(Message("user", question))
            try:
                done = await _answer(app, _call(app, said, manner), Ctx(store=app.store), quiet=False)
            except IdiolectError as error:
                show.say(f"idiolect: {error}")
                said.pop()
                continue
            _sources(done.citations)
            said.append(Message("assistant", done.text))
        return 0

    return _with_app(configure(options, docs), run, watch=True)


def _line() -> str:
    prompt = "> " if sys.stdin.isatty() else ""
    try:
        return input(prompt).strip()
    except EOFError:
        return ""


def _with_app(config: AppConfig, work: Callable[[App], Awaitable[int]], *, watch: bool = False) -> int:
    if config.documents is not None:
        check_folder(Path(config.documents).expanduser())
    else:
        config = replace(config, encoder=None)  # nothing would be searched
    from idiolect.gateway.app import App

    async def run() -> int:
        app = App(replace(config, watch=watch, wait=WAIT if config.wait is None else config.wait))
        try:
            await app.ready()
            return await work(app)
        finally:
            await app.close()

    return asyncio.run(run())


async def _rest(app: App) -> None:
    """Make the vectors that the answer did without, when somebody sits there and sees the bar. Ctrl-C ends it, and what
    is done stays."""
    library = app.library
    if library is None or not library.missing:
        return
    if not (sys.stderr.isatty() and sys.stdout.isatty()):  # a script waits for the end
        show.say(f"note: `idiolect index {library.folder}` makes the other vectors")
        return
    show.say("making the other vectors for the next questions; Ctrl-C ends, and what is done stays")
    work = asyncio.ensure_future(asyncio.to_thread(library.sync, stop=app.stopping.is_set))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        app.stopping.set()
        await work


def _call(app: App, said: Sequence[Message], manner: Manner) -> Call:
    served = app.find(app.model_id)
    options = manner.options()
    if served.kind != "rag" and options:
        raise BadInput(f"--{next(iter(options))} is for answers from documents", hint="give a folder with --docs")
    return Call(served.id, tuple(said), sampling=manner.over(served.sampling), options=options)


async def _answer(app: App, call: Call, ctx: Ctx, *, quiet: bool) -> Completion:
    """Run a call; print its text as it comes, and its notes on standard error. Ctrl-C cancels it and is passed on."""
    done = Completion()
    try:
        async for event in app.handler(call.model)(call, ctx):
            done.add(event)
            if isinstance(event, Note) and event.code not in UNSAID:
                show.say(f"note: {event.text}")
            if isinstance(event, Delta) and not quiet:
                sys.stdout.write(event.text)
                sys.stdout.flush()
    except asyncio.CancelledError:
        ctx.cancel.cancel()
        raise
    if not quiet:
        print()
    return done


def _sources(citations: Sequence[Citation]) -> None:
    if not citations:
        return
    print()
    for cited in citations:
        passage = cited.passage
        where = [passage.document, *([f"page {passage.page}"] if passage.page else []), *passage.heading[-1:]]
        mark = " (not supported by the source)" if cited.supported is False else ""
        print(f"[{cited.number}] {', '.join(where)}{mark}")


def _report(done: Completion, ctx: Ctx) -> dict[str, Any]:
    from idiolect.gateway import wire
    from idiolect.gateway.server import shapes

    cited = [event for event in done.events if isinstance(event, Cited)]
    choice = done.choices[0] if done.choices else None
    return {
        "answer": done.text,
        "model": done.model,
        "mode": done.mode.mode if done.mode else "plain",
        "why": done.mode.why if done.mode else "",
        "citations": [wire.citation(c) for c in (cited[-1].citations if cited else ())],
        "finish_reason": choice.reason if choice else None,
        "usage": wire.encode_usage(done.usage),
        "notes": shapes.notes(done),
        "timings": shapes.timings(done),
        "trace": ctx.trace,
    }
