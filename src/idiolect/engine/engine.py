"""The engine that programs use: whole generations, streams, and scores, alone or with a thread that owns the model."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from idiolect.core.call import Cancel, Sampling, TokenInfo
from idiolect.core.errors import Cancelled, Overloaded, Unavailable
from idiolect.engine.adapters import Using
from idiolect.engine.config import EngineConfig
from idiolect.engine.core import Core
from idiolect.engine.sequence import Output, Result, Scored, Sequence
from idiolect.models.base import CausalModel

Ids = list[int] | tuple[int, ...]


class Engine(Core):
    """Continuous batching over one model.

    Without `start` the caller's thread does the work: `generate`, `score` or `step`. After `start` one thread steps
    whenever there is something to do, and every method may be called from any thread or event loop.
    """

    def __init__(
        self,
        model: CausalModel,
        config: EngineConfig | None = None,
        adapters: Mapping[str, str | Path] | None = None,
    ) -> None:
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        super().__init__(model, config, adapters)
        self._score_calls = 0

    # ------------------------------------------------------------------------------------------- the thread

    def start(self) -> Engine:
        """Start the thread that owns the model; does nothing when it runs already."""
        with self._news:
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(target=self._loop, name="idiolect-engine", daemon=True)
                self._thread.start()
        return self

    def close(self) -> None:
        """Cancel everything (each reader gets finish reason `cancelled`) and end the thread."""
        with self._news:
            thread, self._thread = self._thread, None
            self._closing = True
            self._news.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            for seq in (*self._inbox, *self._scheduler.everyone()):
                seq.cancelled = True
            self._tidy = False
            self._tidy_up()
            self._tell()
            self.forget()

    def __enter__(self) -> Engine:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def started(self) -> bool:
        return self._thread is not None

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()

    def _loop(self) -> None:
        while not self._closing:
            self._advance()
            with self._news:
                if self.idle and self._tidy and not self._closing:
                    self._news.wait()

    def using(self, adapter: str) -> Using:
        """This engine through one of its adapters."""
        self.adapters.find(adapter)
        return Using(self, adapter)

    # --------------------------------------------------------------------------------------- whole answers

    def generate(
        self,
        prompts: list[Ids] | list[list[int]],
        sampling: Sampling | list[Sampling] | None = None,
        *,
        adapter: str | list[str | None] | None = None,
    ) -> list[Result]:
        """Answers to all prompts, in their order; blocks. One `sampling` and `adapter` for all or one each."""
        named = adapter if isinstance(adapter, list) else [adapter] * len(prompts)
        each = sampling if isinstance(sampling, list) else [sampling or Sampling()] * len(prompts)
        for ids, how, name in zip(prompts, each, named, strict=True):
            self._limits.check(ids, how, name)
        inbox: queue.SimpleQueue[Output] = queue.SimpleQueue()
        parts: dict[int, list[Output]] = {}

        def sink(output: Output) -> None:
            """Keeps a piece; wakes the caller only for the last one."""
            parts.setdefault(output.sequence, []).append(output)
            if output.last or output.error is not None:
                inbox.put(output)

        seqs = [
            self.submit(i, s, sink=sink, bounded=False, adapter=name)
            for i, s, name in zip(prompts, each, named, strict=True)
        ]
        self._await(seqs, inbox, lambda _: None)
        return [_fold(parts[seq.id]) for seq in seqs]

    def score(self, items: list[Scored], top: int = 0) -> list[list[TokenInfo]]:
        """Teacher-forced log-probabilities: for every item one `TokenInfo` for each token of `ids[start:]`, with the
        `top` most likely tokens there; blocks. Items are computed in packed batches, and a beginning that several
        share is computed once."""
        inbox: queue.SimpleQueue[Output] = queue.SimpleQueue()
        found: dict[int, list[TokenInfo]] = {}
        seqs = self._submit_scores(items, top, None, inbox.put)
        self._await(seqs, inbox, lambda output: found.__setitem__(output.sequence, list(output.tokens)))
        return [found[seq.id] for seq in seqs]

    def _submit_scores(
        self, items: list[Scored], top: int, cancel: Cancel | None, sink: Callable[[Output], Any]
    ) -> list[Sequence]:
        for item in items:
            self._limits.check_scored(item)
        return [self.submit_score(item, top, cancel=cancel, sink=sink) for item in items]

    def _await(self, seqs: list[Sequence], inbox: queue.SimpleQueue[Output], take: Callable[[Output], Any]) -> None:
        """Collect outputs until every sequence has its last one; steps itself when no thread does."""
        waiting = {seq.id for seq in seqs}
        try:
            while waiting:
                if not self.started and inbox.empty():
                    self._advance()
                    continue
                output = inbox.get()
                if output.error is not None:
                    raise output.error
                take(output)
                if output.last:
                    waiting.discard(output.sequence)
        finally:
            for seq in seqs:
                if not seq.done:
                    self.cancel(seq)

    # --------------------------------------------------------------------------------------------- streams

    async def stream(
        self,
        ids: Ids,
        sampling: Sampling | None = None,
        cancel: Cancel | None = None,
        *,
        n_index: int = 0,
        adapter: str | None = None,
    ) -> AsyncIterator[Output]:
        """Outputs as they come; the last one has `finish`. Starts the thread when it does not run. Leaving the loop
        early, or cancelling the task, cancels the sequence. Raises what `submit` raises, before the first output,
        and the model's error if it fails."""
        self.start()
        inbox, sink = _mailbox()
        seq = self.submit(ids, sampling, cancel=cancel, n_index=n_index, sink=sink, adapter=adapter)
        try:
            while True:
                output = await inbox.get()
                if output.error is not None:
                    raise output.error
                yield output
                if output.last:
                    return
        finally:
            if not seq.done:
                self.cancel(seq)

    async def ascore(self, items: list[Scored], top: int = 0, cancel: Cancel | None = None) -> list[list[TokenInfo]]:
        """`score` for event loops; shares the steps with everything else that runs. `Overloaded` when too many calls
        wait, `Cancelled` when `cancel` trips."""
        self.start()
        if self._score_calls >= self.config.max_queue:
            raise Overloaded(f"{self._score_calls} calls to score are waiting already", hint="try again later")
        inbox, sink = _mailbox()
        self._score_calls += 1
        seqs: list[Sequence] = []
        found: dict[int, list[TokenInfo]] = {}
        try:
            seqs = self._submit_scores(items, top, cancel, sink)
            while len(found) < len(seqs):
                output = await inbox.get()
                if output.error is not None:
                    raise output.error
                if output.finish == "cancelled":
                    raise Cancelled("scoring was cancelled")
                found[output.sequence] = list(output.tokens)
            return [found[seq.id] for seq in seqs]
        finally:
            self._score_calls -= 1
            for seq in seqs:
                if not seq.done:
                    self.cancel(seq)


def _mailbox() -> tuple[asyncio.Queue[Output], Callable[[Output], None]]:
    """A queue of the running event loop, and a function that puts into it from any thread."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[Output] = asyncio.Queue()

    def sink(output: Output) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(inbox.put_nowait, output)

    return inbox, sink


def _fold(outputs: list[Output]) -> Result:
    last = outputs[-1]
    if last.finish is None:
        raise Unavailable("the engine was closed before the answer was complete")
    return Result(
        "".join(o.text for o in outputs),
        tuple(t for o in outputs for t in o.tokens),
        last.finish,
        last.usage,
        last.metrics,
    )
