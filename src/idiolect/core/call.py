"""The one way to call a model: `handler(call, ctx) -> AsyncIterator[Event]`.

A complete answer, a JSON answer, a batch and a synchronous call are folds over the events (`fold`). Programs (RAG, an
agent, an evaluation's solver) and layers (trace, limits, caches, retry, fallback) speak the same types, so any of
them can be put around any other.

The law of the stream: for every choice `index < call.n` there is exactly one `Finished`, nothing follows it for that
index, and `fold(events)` does not depend on how the text was cut into `Delta`s. A failure is an exception
(`IdiolectError`), never an event.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol

from idiolect.core.errors import BadInput, Cancelled

if TYPE_CHECKING:
    from idiolect.core.store import Store

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled", "tool_calls", "refused"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. The defaults are greedy-free OpenAI defaults except `max_tokens`.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 are off. `logprobs=k` asks for the chosen token's
    log-probability and the k most likely ones (0: only the chosen one's). `seed` reproduces the same tokens whatever
    else is in the batch. Values out of range raise `BadInput` with `param` set.
    """

    max_tokens: int | None = None  # None: until a stop or the end of the context
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    seed: int | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "temperature": (0.0, 100.0),
            "top_k": (0, 1 << 31),
            "top_p": (0.0, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (1e-3, 100.0),
            "presence_penalty": (-2.0, 2.0),
            "frequency_penalty": (-2.0, 2.0),
        }
        if self.max_tokens is not None:
            bounds["max_tokens"] = (1, 1 << 31)
        if self.logprobs is not None:
            bounds["logprobs"] = (0, 100)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                wish = f"give {low:g} or more" if high >= 1 << 31 else f"give a value from {low:g} to {high:g}"
                raise BadInput(f"{name} is {value}", hint=wish, param=name)
        for token, bias in self.logit_bias.items():
            if not -100.0 <= bias <= 100.0:
                raise BadInput(f"logit_bias of token {token} is {bias}", hint="give -100 to 100", param="logit_bias")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a model or program. `prompt` (text or token ids) is a raw completion; else `messages` is a chat."""

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    n: int = 1
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # for programs: mode, top, length, expertise, ...


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """One generated token: its id, its text (may be empty inside a multi-byte character), its raw bytes, its
    log-probability (natural log, of the model's raw logits: before bias, penalties and temperature), and the most
    likely alternatives."""

    id: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, str, float], ...] = ()
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document with the place it came from. `span` is the character range in the document's extracted
    text; `scores` holds each ranker's own score by name (`bm25`, `dense`, `rrf`, `lm`, ...)."""

    id: str
    document: str  # path relative to the folder, "/" as separator
    text: str
    span: tuple[int, int]
    heading: tuple[str, ...] = ()
    page: int | None = None
    score: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    freshness: Literal["fresh", "stale", "gone"] = "fresh"  # whether the file still is what was indexed


@dataclass(frozen=True, slots=True)
class Citation:
    """A numbered source of an answer: `[number]` in the text points at it. `quote` is the exact sentence shown or
    relied on, `span` its place in the document's text, `supported` what the support check said (None: not run)."""

    number: int
    passage: Passage
    quote: str
    span: tuple[int, int]
    supported: bool | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)))


# ------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Started:
    """First event. `model` is what really answers (after routing and fallback)."""

    id: str
    model: str
    created: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Prompted:
    """The exact prompt that a model call sees. `pieces[i]` is the text of `ids[i]`; an upstream has no ids, so its
    `messages` are kept instead. `trimmed` says what a context policy removed, in words; empty: nothing."""

    ids: tuple[int, ...] = ()
    pieces: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    purpose: str = "answer"  # rewrite, answer, score, ...
    trimmed: str = ""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What retrieval found for `query`, best first, with every ranker's score."""

    query: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Mode:
    """Which answer mode was chosen (`quote`, `generate`, `plain`, `refuse`) and the measured reason in words."""

    mode: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of choice `index`. `tokens` are the tokens behind it, when a model made them here."""

    text: str
    index: int = 0
    tokens: tuple[TokenInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Cited:
    """The sources of the answer so far; the last one before `Finished` is complete."""

    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that a stage took (`queue`, `prefill`, `decode`, `retrieve`, `layer:trace`, ...)."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should be able to see: a cache hit, a retry, a fallback, a trimmed context."""

    code: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event of choice `index`."""

    reason: FinishReason
    usage: Usage
    index: int = 0


Event = Started | Prompted | Retrieved | Mode | Delta | Cited | Timing | Note | Finished


# ---------------------------------------------------------------------------------------------------- context


class Cancel:
    """A one-way switch, safe from any thread: the caller trips it, the engine and every layer look at it."""

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def cancel(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._event.set()
        for callback in callbacks:
            callback()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when cancelled (at once if it already is)."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()


@dataclass(slots=True)
class Ctx:
    """What travels with a call, explicitly: nothing is ambient. `trace` is the id under which every event of this
    request, its sub-calls included, is found in the store."""

    trace: str = field(default_factory=lambda: uuid.uuid4().hex)
    tenant: str = "local"
    deadline: float | None = None  # time.monotonic() seconds
    seed: int | None = None
    cancel: Cancel = field(default_factory=Cancel)
    store: Store | None = None

    def check(self) -> None:
        """Raise `Cancelled` when the caller has gone or the deadline has passed."""
        if self.cancel.cancelled:
            raise Cancelled("the request was cancelled")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Cancelled("the deadline passed", hint="allow more time or ask for fewer tokens")


Handler = Callable[[Call, Ctx], AsyncIterator[Event]]


class Layer(Protocol):
    """One ring of the onion: it may answer itself, change the call, change the events, or pass everything on."""

    def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncIterator[Event]: ...


def onion(handler: Handler, layers: list[Layer]) -> Handler:
    """Wrap `handler` in `layers`, the first of the list outermost."""

    def wrap(layer: Layer, inner: Handler) -> Handler:
        return lambda call, ctx: layer(call, ctx, inner)

    for layer in reversed(layers):
        handler = wrap(layer, handler)
    return handler


@dataclass(slots=True)
class Choice:
    """The fold of one choice."""

    index: int
    text: str = ""
    tokens: list[TokenInfo] = field(default_factory=list)
    reason: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(slots=True)
class Completion:
    """The fold of a whole stream."""

    id: str = ""
    model: str = ""
    created: float = 0.0
    choices: list[Choice] = field(default_factory=list)
    citations: tuple[Citation, ...] = ()
    mode: Mode | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.choices[0].text if self.choices else ""

    @property
    def usage(self) -> Usage:
        """Prompt tokens are counted once, completion tokens over all choices."""
        if not self.choices:
            return Usage()
        return Usage(
            max(c.usage.prompt_tokens for c in self.choices),
            sum(c.usage.completion_tokens for c in self.choices),
            max(c.usage.cached_tokens for c in self.choices),
        )

    def add(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case Started():
                self.id, self.model, self.created = event.id, event.model, event.created
            case Delta():
                choice = self.choice(event.index)
                choice.text += event.text
                choice.tokens.extend(event.tokens)
            case Cited():
                self.citations = event.citations
            case Mode():
                self.mode = event
            case Finished():
                choice = self.choice(event.index)
                choice.reason, choice.usage = event.reason, event.usage
            case _:
                pass

    def choice(self, index: int) -> Choice:
        while len(self.choices) <= index:
            self.choices.append(Choice(len(self.choices)))
        return self.choices[index]


async def fold(events: AsyncIterator[Event]) -> Completion:
    """Run a stream to its end and return the complete answer."""
    done = Completion()
    async for event in events:
        done.add(event)
    return done
