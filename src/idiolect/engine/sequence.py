"""A request inside the engine: its tokens, its pages, and what it has told its reader so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from idiolect.core.call import Cancel, FinishReason, Sampling, TokenInfo, Usage
from idiolect.core.errors import IdiolectError
from idiolect.engine.metrics import RequestMetrics
from idiolect.engine.pages import Lease

if TYPE_CHECKING:
    from idiolect.engine.adapters import Served
    from idiolect.engine.visible import VisibleText

Lane = Literal["generate", "score"]


@dataclass(frozen=True, slots=True)
class Output:
    """News of one sequence. `text` is what became visible since the last output (a piece that could still turn out
    to be a stop string is held back), `tokens` the tokens behind it: `"".join(t.text for t in tokens) == text`,
    always. A token that ends the generation (end of turn, stop id) is a token with empty text. `finish` is set on the
    last output, and so is `error`, if it failed; `usage` and `metrics` are complete there."""

    sequence: int
    text: str = ""
    tokens: tuple[TokenInfo, ...] = ()
    finish: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    metrics: RequestMetrics = field(default_factory=RequestMetrics)
    error: IdiolectError | None = None
    n_index: int = 0

    @property
    def last(self) -> bool:
        return self.finish is not None or self.error is not None


@dataclass(frozen=True, slots=True)
class Result:
    """A whole generation: the fold of a sequence's outputs."""

    text: str
    tokens: tuple[TokenInfo, ...]
    finish: FinishReason
    usage: Usage
    metrics: RequestMetrics

    @property
    def ids(self) -> list[int]:
        return [t.id for t in self.tokens]


@dataclass(frozen=True, slots=True)
class Scored:
    """Something to score: the log-probability of every token of `ids[start:]` given all before it; `start` >= 1."""

    ids: tuple[int, ...] | list[int]
    start: int
    adapter: str | None = None


Sink = Callable[[Output], None]


class Sequence:
    """One sequence. The engine owns every field; callers read `id`, `output`, `finish` and may call `cancel`.

    `tokens` is the prompt and what was generated; the first `computed` of them have their keys and values in the
    pages of `lease`. `arrival` orders sequences: an older one may take pages from a newer one, never the other way.
    """

    __slots__ = (
        "adapter",
        "arrival",
        "cached",
        "cancel_token",
        "cancelled",
        "computed",
        "counts",
        "error",
        "finish",
        "head",
        "infos",
        "keys",
        "lane",
        "last_token_at",
        "lease",
        "limit",
        "metrics",
        "n_index",
        "output",
        "prompt",
        "published",
        "sampling",
        "score_start",
        "score_top",
        "seed",
        "seen",
        "served",
        "sink",
        "started_at",
        "submitted_at",
        "tokens",
        "visible",
    )

    def __init__(
        self,
        arrival: int,
        ids: list[int],
        sampling: Sampling,
        *,
        limit: int,
        seed: int = 0,
        n_index: int = 0,
        lane: Lane = "generate",
        cancel: Cancel | None = None,
        sink: Sink | None = None,
        visible: VisibleText | None = None,
        score_start: int = 0,
        score_top: int = 0,
        adapter: str | None = None,
        served: Served | None = None,
    ) -> None:
        self.arrival = arrival
        self.served = served  # the adapter itself; its virtual tokens come before the prompt
        self.tokens = [*served.front, *ids] if served is not None else list(ids)
        self.prompt = len(self.tokens)
        self.sampling = sampling
        self.limit = limit  # most tokens to generate
        self.seed = seed
        self.n_index = n_index
        self.adapter = adapter  # whose weights compute it; beginnings are only shared within one
        self.lane: Lane = lane
        self.cancel_token = cancel
        self.sink = sink
        self.visible = visible
        self.score_start = score_start + self.virtual
        self.score_top = score_top
        self.head: NDArray[np.int64] = np.asarray(self.tokens, dtype=np.int64)  # the prompt, to compare beginnings with
        self.infos: list[TokenInfo] = []  # score lane: what was found so far
        self.output: list[Output] = []
        self.lease = Lease()
        self.computed = 0
        self.cached = 0
        self.published = 0  # pages that the prefix cache knows of
        self.keys: list[bytes] = []  # names of the blocks of its tokens, as far as anybody asked
        self.counts: Tensor | None = None  # [V] how often each token was generated, for penalties
        self.seen: Tensor | None = None  # [V] bool: in the prompt or generated
        self.finish: FinishReason | None = None
        self.error: IdiolectError | None = None
        self.cancelled = False
        self.metrics = RequestMetrics()
        self.submitted_at = time.perf_counter()
        self.started_at: float | None = None
        self.last_token_at: float | None = None

    @property
    def id(self) -> int:
        return self.arrival

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt

    @property
    def todo(self) -> int:
        """Tokens whose keys and values are not computed yet; 1 while decoding. The last token of something scored
        predicts nothing that was asked for, and is never computed."""
        return len(self.tokens) - self.computed - (self.lane == "score")

    @property
    def decoding(self) -> bool:
        return self.generated > 0 and self.todo == 1

    @property
    def done(self) -> bool:
        return self.finish is not None or self.error is not None

    @property
    def wants_stop(self) -> bool:
        return self.cancelled or (self.cancel_token is not None and self.cancel_token.cancelled)

    @property
    def virtual(self) -> int:
        """Tokens in front of the prompt that nobody wrote."""
        return len(self.served.front) if self.served is not None else 0

    def usage(self) -> Usage:
        cached = max(0, min(self.cached, self.prompt) - self.virtual)
        return Usage(self.prompt - self.virtual, self.generated, cached)

    def array(self) -> NDArray[np.int64]:
        return self.head if len(self.tokens) == self.prompt else np.asarray(self.tokens, dtype=np.int64)
