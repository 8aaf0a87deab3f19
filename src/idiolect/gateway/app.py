"""The application: a store, the models behind their onions, the documents; how they start, and how they end.

`App(config)` opens the store and nothing else. `start()` loads everything in the background and says at which stage it
is, so that `/healthz` can answer from the first moment. Handlers may be given instead of loaded: a test or a benchmark
then runs the same onion around any handler.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idiolect.core.call import Ctx, Handler, Layer, Sampling, onion
from idiolect.core.errors import BadInput, Cancelled, NotFound, Unavailable
from idiolect.core.files import state_dir
from idiolect.core.names import did_you_mean
from idiolect.core.store import Store
from idiolect.gateway.config import AppConfig
from idiolect.gateway.conversations import Conversations
from idiolect.gateway.keys import Keys
from idiolect.gateway.layers import Cache, Fallback, Limits, Retry, Trace
from idiolect.gateway.metrics import Metrics
from idiolect.gateway.recorder import Recorder
from idiolect.gateway.streams import measured

if TYPE_CHECKING:
    from idiolect.core.progress import Progress
    from idiolect.retrieval import Library
    from idiolect.retrieval.types import Embedder

Kind = Literal["rag", "model", "upstream"]


@dataclass(frozen=True, slots=True)
class Served:
    """A model id that can be asked. `handler` is the bare one (no layers). `sampling` are the defaults for what a
    request leaves out; `why` says how `default_mode` was chosen."""

    id: str
    handler: Handler
    kind: Kind
    context: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    default_mode: str = "plain"
    why: str = ""
    created: float = field(default_factory=time.time)
    fingerprint: Callable[[], str] = str  # changes with all that could change an answer; "": nobody knows (an upstream)


class App:
    """The parts of a running server. Not a singleton: several can live in one process."""

    def __init__(self, config: AppConfig, served: Mapping[str, Served] | None = None) -> None:
        self.config = config
        self.store_path = Path(config.store).expanduser() if config.store else state_dir() / "store.sqlite"
        self.store = Store.open(self.store_path)
        self.recorder = Recorder(self.store)
        self.conversations = Conversations(self.store, self.recorder)
        self.keys = Keys(Path(config.http.keys).expanduser()) if config.http.keys else None
        self.metrics = Metrics()
        self.served: dict[str, Served] = dict(served or {})
        self.model_id = next(iter(self.served), "")
        self.library: Library | None = None
        self.embedders: dict[str, tuple[Embedder, Callable[[str], int]]] = {}  # id -> (embedder, tokens of a text)
        self.engine_stats: Callable[[], Any] | None = None
        self._stage = "starting"
        self.bar: Progress | None = None  # of an index that is being made
        self.failure: Exception | None = None
        self.fingerprint: Callable[[], str] = str
        self.cache: Cache | None = None
        self.limits: Limits | None = None
        self.on_failure: Callable[[], None] | None = None  # called when loading failed
        self.in_flight: dict[str, Ctx] = {}  # by trace
        self.closers = ExitStack()  # what loading opened, closed in reverse
        self._layers = [measured(name, self._layer(name), self.metrics.layer) for name in config.layers]
        self._onions: dict[str, Handler] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self._loading: asyncio.Task[None] | None = None
        self._work: asyncio.Future[None] | None = None  # of the thread that loads
        self.stopping = threading.Event()  # whoever loads or indexes ends as soon as it can
        self._given = served is not None
        self._ready = False
        self.metrics.watch(self)

    # ------------------------------------------------------------------------------------------------ lifecycle

    def start(self) -> asyncio.Task[None]:
        """Load in the background; await the task (or `ready`) for its end."""
        self.loop = asyncio.get_running_loop()
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        from idiolect.gateway.loading import load

        try:
            if not self._given:
                self._work = asyncio.ensure_future(asyncio.to_thread(load, self))
                await asyncio.shield(self._work)
            self._stage, self._ready = "ready", True
        except Exception as error:
            self.failure = error
            if self.on_failure is not None:
                self.on_failure()
            raise

    async def ready(self) -> None:
        """Return when questions can be answered; raise what made loading fail."""
        await self.start()

    def check(self) -> None:
        """Raise `Cancelled` when the start is no longer wanted; the loading asks between its steps."""
        if self.stopping.is_set():
            raise Cancelled("the start was stopped")

    @property
    def stage(self) -> str:
        """What the start is busy with, in words."""
        bar = self.bar
        if bar is None:
            return self._stage
        return f"indexing: {bar.done:g}{f' of {bar.total:g}' if bar.total else ''} {bar.unit}"

    @stage.setter
    def stage(self, words: str) -> None:
        self._stage = words

    @property
    def is_ready(self) -> bool:
        return self._ready

    def stop_answers(self) -> None:
        """Cancel every running call, so that each ends and records what it has."""
        for ctx in list(self.in_flight.values()):
            ctx.cancel.cancel()

    async def close(self) -> None:
        """Stop what runs, write what is left, close everything. Twice is fine."""
        self._ready, self._stage = False, "stopping"
        self.stopping.set()
        self.stop_answers()
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
        if self._work is not None:  # what it opened is closed below
            await asyncio.gather(self._work, return_exceptions=True)
        for served in self.served.values():
            if hasattr(served.handler, "aclose"):
                await served.handler.aclose()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.closers.close()
        self.recorder.close()
        self.store.close()

    # ------------------------------------------------------------------------------------------------- asking

    def find(self, model: str) -> Served:
        """The served model of this id. `Unavailable` while loading, `NotFound` with the nearest id otherwise."""
        found = self.served.get(model)
        if found is not None:
            return found
        if not self._ready:
            raise Unavailable(f"the server is starting ({self.stage})", hint="wait until /healthz says ready")
        error = NotFound(f"no model {model[:80]!r}", hint=did_you_mean(model, self.served), param="model")
        error.code = "model_not_found"
        raise error

    def handler(self, model: str) -> Handler:
        """The model of this id inside its onion."""
        if model not in self._onions:
            self._onions[model] = onion(self.find(model).handler, self._layers)
        return self._onions[model]

    def _print(self) -> str:
        return self.fingerprint()  # looked up late: loading sets it

    def _layer(self, name: str) -> Layer:
        match name:
            case "trace":
                return Trace(self.recorder)
            case "limits":
                self.limits = Limits(self.config.limits, store=self.store)
                return self.limits
            case "cache":
                self.cache = Cache(self.store, self.recorder, fingerprint=self._print)
                return self.cache
            case "retry":
                return Retry(self.config.retry)
            case "fallback":
                return Fallback(self.config.fallback, lambda model: self.find(model).handler)
            case _:
                raise BadInput(f"unknown layer {name!r}")
