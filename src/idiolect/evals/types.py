"""What every evaluation is made of: a task gives items, a system answers their requests, the task grades the replies.

    task.items(limit) -> Item(id, request, target, meta) -> system.answer([request]) -> reply -> task.grade(item, reply)

A request says everything that could change its reply apart from the system, so (system fingerprint, request hash)
names a reply for ever: an item is asked once. A grade holds the item's own values, so every figure has an interval,
and two systems that answered the same items have a paired difference. What is no mean over items (BLEU, ECE, bits per
byte) is computed by the task's `aggregate` from what the grades carry.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from idiolect.core.call import Citation, Message, Passage, Sampling, Usage
from idiolect.core.canonical import canonical, digest
from idiolect.core.config import from_dict
from idiolect.core.errors import CorruptFile, IdiolectError

# ----------------------------------------------------------------------------------------------------- requests

Context = str | tuple[Message, ...]  # plain text, or a chat that the model's template puts into words


@dataclass(frozen=True, slots=True)
class Choose:
    """The log-likelihood of each continuation after the same context. In plain text an option says its own white
    space (" Paris"); in a chat it is the beginning of the assistant's turn."""

    context: Context
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roll:
    """The log-likelihood of a whole text. A text longer than `window` tokens is read through windows that move on by
    `stride` (None: the whole window), each token scored once, with what stands before it in its window as its context.
    `window` None: the model's context. `bos`: whether a beginning-of-text token stands before the first window, where
    the model has one; without it the first token is not scored."""

    text: str
    window: int | None = None
    stride: int | None = None
    bos: bool = False


@dataclass(frozen=True, slots=True)
class Generate:
    """Free text: the answer to `messages`, or the continuation of `prompt`. `options` go to a program as they are."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """The `top` documents for a query, in the corpus whose hash is `corpus` (the task's `documents`)."""

    query: str
    top: int
    corpus: str


Request = Choose | Roll | Generate | Search
REQUESTS: dict[str, type] = {"choose": Choose, "roll": Roll, "generate": Generate, "search": Search}

# ------------------------------------------------------------------------------------------------------ replies


@dataclass(frozen=True, slots=True)
class Chosen:
    """For each option: its log-likelihood (natural log), its length in tokens and in UTF-8 bytes, and whether greedy
    decoding would have written it."""

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    greedy: tuple[bool, ...]

    @property
    def best(self) -> int:
        """The most likely option (the first of equals)."""
        return max(range(len(self.logprobs)), key=self.logprobs.__getitem__)


@dataclass(frozen=True, slots=True)
class Rolled:
    """The log-likelihood (natural log) of `tokens` scored tokens, and the `bytes` and `chars` that they spell: a first
    token without anything before it has no likelihood and is not counted."""

    logprob: float
    tokens: int
    bytes: int
    chars: int


@dataclass(frozen=True, slots=True)
class Generated:
    """A written answer. `token_logprobs` and `top` (the likeliest tokens at each place: text, log-probability) where
    the sampling asked for them and the system gives them. `seconds` and `ttft` are wall time, and no part of a
    grade."""

    text: str
    finish: str | None = None
    usage: Usage = field(default_factory=Usage)
    token_logprobs: tuple[float, ...] | None = None
    top: tuple[tuple[tuple[str, float], ...], ...] = ()
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()  # what retrieval found
    mode: str = ""
    model: str = ""  # what really answered
    seconds: float = 0.0
    ttft: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Document ids, best first, with their scores."""

    ids: tuple[str, ...]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that this system could not answer: the item has no score, and the next run asks again."""

    error: str


Reply = Chosen | Rolled | Generated | Found | Failed
REPLIES: dict[str, type] = {
    "chosen": Chosen,
    "rolled": Rolled,
    "generated": Generated,
    "found": Found,
    "failed": Failed,
}


def packed(value: Request | Reply) -> dict[str, Any]:
    """A request or reply as plain data, its kind beside its fields; `unpacked` is the way back."""
    kind = type(value).__name__.lower()
    return {"kind": kind, **json.loads(canonical(value))}


def unpacked(data: Mapping[str, Any]) -> Any:
    """The request or reply that `packed` made the data from."""
    rest = dict(data)
    cls = {**REQUESTS, **REPLIES}.get(str(rest.pop("kind", "")))
    try:
        if cls is None:
            raise CorruptFile(f"a stored record is a {data.get('kind')!r}", hint="another version wrote it")
        if cls is Generate:  # JSON has only text as keys
            sampling = dict(rest["sampling"])
            sampling["logit_bias"] = {int(k): v for k, v in sampling.get("logit_bias", {}).items()}
            rest["sampling"] = sampling
        return from_dict(cls, rest)
    except IdiolectError as error:
        raise CorruptFile(f"a stored record cannot be read: {error.message}", hint="another version wrote it") from None


def request_hash(request: Request) -> str:
    """Names everything that a reply depends on, the system apart."""
    return digest("request", type(request).__name__, canonical(request))


# -------------------------------------------------------------------------------------------- tasks and systems


@dataclass(frozen=True, slots=True)
class Item:
    """One thing asked. `target` is what the grade needs (an index, a text, a set of ids). `meta` is what a reader or
    the grade wants beside it (subject, question, ...); items with an equal `meta["group"]` are drawn together when an
    interval is computed (samples of one prompt, questions on one passage)."""

    id: str
    request: Request
    target: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)


Grade = Mapping[str, float]
"""An item's own values: metric -> value, NaN where it has none. A name that begins with "_" is an ingredient of an
aggregate (the bits and the bytes of bits per byte), and is not shown."""

Columns = Mapping[str, NDArray[np.float64]]
"""The grades of n items, one array [n] for each name (NaN where an item has none)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a reader must know of a figure: which way is better, whether it is a share (0 to 1, shown in percent), and
    one line of words."""

    name: str
    higher_is_better: bool = True
    share: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a retrieval task's corpus."""

    id: str
    text: str
    title: str = ""


@runtime_checkable
class Task(Protocol):
    """Items and their grading. `metrics[0]` is the headline. See `evals.tasks.Base` for what most tasks share."""

    name: str
    metrics: tuple[Metric, ...]

    def identity(self) -> dict[str, Any]:
        """Plain data: everything that could change a result (data, templates, few-shot, seeds, version of the code)."""
        ...

    @property
    def hash(self) -> str:
        """16 hex digits of the identity (`task_hash`)."""
        ...

    def items(self, limit: int | None = None) -> Iterable[Item]:
        """The items, in one order for ever; the first `limit` of it (a prefix, so that a larger limit asks only what
        is new)."""
        ...

    def grade(self, item: Item, reply: Reply) -> Grade:
        """The item's values. Called with every reply but `Failed`."""
        ...

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        """The figures that are no mean over items; empty where every one is. Called again for every bootstrap sample,
        so it works on arrays."""
        ...


def task_hash(identity: Mapping[str, Any]) -> str:
    return digest("task", canonical(identity))[:16]


Kind = Literal["choose", "roll", "generate", "search"]


@runtime_checkable
class System(Protocol):
    """Something that answers: a model on the engine, an adapter, a program, a server, a search.

    It may have `about` (words for a report: weights, adapter), `by(request)` (who computes the reply, in which
    numbers), `weak` (why its fingerprint may not tell two models apart), `load(requests)` and `prepare(task)`."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Changes with everything that could change a reply (weights, adapter, quantisation, settings)."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which requests it can answer at all."""
        ...

    def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """(index, reply) as they come, in any order, each index once. What one request alone cannot have is `Failed`;
        what stops everything (no server, no memory) is raised."""
        ...


@dataclass(frozen=True)
class Graded:
    """One row of a result."""

    item: Item
    reply: Reply
    grade: Grade

    @cached_property
    def failed(self) -> bool:
        return isinstance(self.reply, Failed)
