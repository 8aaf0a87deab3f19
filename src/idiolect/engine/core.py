"""The engine without threads: submit, step, cancel. One step is one packed forward pass over whatever is alive."""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from idiolect.core.call import Cancel, FinishReason, Sampling
from idiolect.core.errors import IdiolectError, Overloaded
from idiolect.core.rng import Streams
from idiolect.engine.adapters import Adapters, Served
from idiolect.engine.config import EngineConfig
from idiolect.engine.limits import Limits
from idiolect.engine.load import Load, Meter, cost_of
from idiolect.engine.metrics import EngineStats
from idiolect.engine.news import News, Shown
from idiolect.engine.pages import Pages
from idiolect.engine.runner import Step, choose
from idiolect.engine.sampling import Likely, logprobs
from idiolect.engine.scheduler import Scheduler, Work
from idiolect.engine.sequence import Output, Scored, Sequence, Sink
from idiolect.engine.visible import VisibleText
from idiolect.engine.words import Words
from idiolect.models.base import CausalModel
from idiolect.tune import Adapter

log = logging.getLogger(__name__)


class Core:
    """Sequences in, outputs out. `submit` and `cancel` may be called from any thread at any time; `step` runs under a
    lock, so several callers cannot disturb one another."""

    def __init__(
        self,
        model: CausalModel,
        config: EngineConfig | None = None,
        adapters: Mapping[str, str | Path] | None = None,
    ) -> None:
        """Plans and reserves the memory. `BadInput` when it does not hold one page. `adapters` (folders by name) are
        there from the beginning, and the runner is chosen so that it can serve them (see `add_adapter`)."""
        self.model = model.eval()
        self.tokenizer = model.tokenizer
        self.config = config = config or EngineConfig()
        self.adapters = Adapters(model)
        self._runner = choose(self.model, config, adapters)
        self._cache = self._runner.cache
        count = self._cache.pages
        self._pages = Pages(count, None if self._cache.shares else self._move)
        self._scheduler = Scheduler(config, self._cache, self._pages)
        self.capacity = min(model.context, count * config.page_size, config.context or model.context)
        own = self.capacity == model.context
        self._limits = Limits(int(model.config.vocab), self.capacity, own, self.adapters)
        self._arrivals = itertools.count(1)
        self._streams = Streams(config.seed) if config.seed is not None else None
        self._inbox: deque[Sequence] = deque()
        self._lock = threading.RLock()
        self._stats = EngineStats()
        self._stats.slo_ttft, self._stats.slo_itl = config.slo_ttft, config.slo_itl
        self._meter = Meter(cost_of(self._runner, self.model))
        self._words = Words(self.tokenizer)
        self._untold = News(self._words)
        self._tidy = True  # False: some sequence was told to stop since the last look
        self._busy = False  # inside a step, where nothing may be taken away
        self._counted: tuple[list[Work], Load] | None = None  # the last step, until it is accounted for
        self._pending: list[Output] = []  # told since the last `step`
        self._retired: list[Served] = []  # adapters that were removed and are still in use
        for name, folder in (adapters or {}).items():
            self.add_adapter(name, folder)

    def _move(self, old: list[int], new: list[int]) -> None:
        """Pages move to a longer run: their content, and what the prefix cache knows of them."""
        self._cache.move(old, new)
        self._scheduler.prefix.moved(old, new)

    # ------------------------------------------------------------------------------------------- coming in

    def submit(
        self,
        ids: list[int] | tuple[int, ...],
        sampling: Sampling | None = None,
        *,
        cancel: Cancel | None = None,
        n_index: int = 0,
        sink: Sink | None = None,
        bounded: bool = True,
        adapter: str | None = None,
    ) -> Sequence:
        """Queue a generation and return at once. Its outputs come from `step` (and go to `sink`, called on the thread
        that steps). Raises `BadInput`, `ContextOverflow` when prompt and one token do not fit (a `max_tokens` that
        reaches past the context ends with finish reason `length` there), `Overloaded` when too many wait already
        (`bounded=False` waits instead)."""
        sampling = sampling or Sampling()
        served = self._limits.check(ids, sampling, adapter)
        if bounded and len(self._inbox) + len(self._scheduler.waiting["generate"]) >= self.config.max_queue:
            self._stats.rejected += 1
            raise Overloaded(f"{self.config.max_queue} requests are waiting already", hint="try again later")
        room = self.capacity - len(ids) - (len(served.front) if served is not None else 0)
        number = next(self._arrivals)
        seed = sampling.seed
        if seed is None:
            seed = self._streams.integer("request", number) if self._streams else secrets.randbits(63)
        seq = Sequence(
            number,
            list(ids),
            sampling,
            limit=min(sampling.max_tokens or room, room),
            seed=seed,
            n_index=n_index,
            cancel=cancel,
            sink=sink,
            visible=VisibleText(self.tokenizer.stream(), sampling.stop),
            adapter=served.key if served is not None else None,
            served=served,
        )
        return self._enter(seq)

    def submit_score(
        self, item: Scored, top: int = 0, *, cancel: Cancel | None = None, sink: Sink | None = None
    ) -> Sequence:
        """Queue something to score; its single output carries a `TokenInfo` for each of `ids[start:]`."""
        served = self._limits.check_scored(item)
        seq = Sequence(
            next(self._arrivals),
            list(item.ids),
            Sampling(),
            limit=0,
            lane="score",
            cancel=cancel,
            sink=sink,
            score_start=item.start,
            score_top=top,
            adapter=served.key if served is not None else None,
            served=served,
        )
        return self._enter(seq)

    def _enter(self, seq: Sequence) -> Sequence:
        self._stats.requests += 1
        self._inbox.append(seq)
        if seq.cancel_token is not None:
            seq.cancel_token.on_cancel(lambda: self.cancel(seq))
        self._wake()
        return seq

    def cancel(self, seq: Sequence) -> None:
        """Stop a sequence: its pages are free at once, or, when a step is just computing, right after that step. Safe
        from any thread; a finished sequence is left as it is."""
        seq.cancelled = True
        self._tidy = False
        if self._lock.acquire(blocking=False):
            try:
                if not self._busy:
                    self._tidy_up()
                    self._tell()
            finally:
                self._lock.release()
        self._wake()

    def _wake(self) -> None:
        """Called when there is news for whoever steps."""

    # ---------------------------------------------------------------------------------------------- a step

    @property
    def runner(self) -> str:
        """Who computes, in words."""
        return str(self._runner)

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self._inbox and self._scheduler.idle and not self._untold

    def step(self) -> list[Output]:
        """Run one packed batch and return the news. An exception of the model ends the sequences of that batch with
        an error output; the engine goes on."""
        with self._lock:
            self._compute()
            self._tell()
            outputs, self._pending = self._pending, []
            return outputs

    def _advance(self) -> None:
        """A step of a loop that does not stop before all is done: what it chose is told while the next one computes."""
        with self._lock:
            self._compute()
            self._pending.clear()

    def _compute(self) -> None:
        self._tidy_up()
        self._busy = True
        work: list[Work] = []
        begin = time.perf_counter()
        try:
            work = self._scheduler.plan()
            if work:
                self._run(work, begin)
        except Exception as error:
            log.exception("a step of %d sequences failed", len(work))
            self._fail([w.seq for w in work] or list(self._scheduler.everyone()), error)
        finally:
            self._busy = False
        if work:
            self._stats.steps += 1
            self._stats.step_seconds += time.perf_counter() - begin
        self._tidy_up()
        if self._retired:
            self._retire()
        if not work or self._scheduler.idle:  # no next step to hide behind
            self._tell()

    def run_until_idle(self) -> list[Output]:
        """Step until nothing is left, and return everything that came out."""
        outputs: list[Output] = []
        while not self.idle:
            outputs += self.step()
        return outputs

    def _tidy_up(self) -> None:
        """Take in what was submitted and let go what was cancelled."""
        while self._inbox:
            seq = self._inbox.popleft()
            self._tidy = self._tidy and not seq.wants_stop
            self._scheduler.add(seq)
        while not self._tidy:
            self._tidy = True
            for seq in self._scheduler.everyone():
                if seq.wants_stop:
                    self._stats.cancelled += 1
                    self._tell()  # what it holds back comes after what it has chosen
                    self._finish(seq, "cancelled", seq.visible.flush() if seq.visible is not None else ("", ()))

    def _run(self, work: list[Work], begin: float) -> None:
        for item in work:
            if item.seq.started_at is None:
                item.seq.started_at = begin
                item.seq.metrics.queue = begin - item.seq.submitted_at
        if not self._runner.ahead:
            self._tell()
        step = self._runner.run(work)
        self._tell()  # what the step before chose, while this one computes
        picked, likely = step.choose()
        self._score(step)
        now = time.perf_counter()
        self._account(work, Load(chosen=len(picked), seconds=now - begin))
        for seq, token, known in zip(step.choosing, picked, likely, strict=True):
            self._accept(seq, token, known, now)
        for item in work:
            if item.seq.lane == "score" and item.seq.todo == 0:
                self._finish(item.seq, "stop", ("", tuple(item.seq.infos)))

    def _account(self, work: list[Work], load: Load) -> None:
        """Advance the sequences. Prompts are named for others at once; the rest waits for `_tell`."""
        seconds = load.seconds
        for item in work:
            seq, count = item.seq, item.count
            before, length = seq.computed, len(seq.tokens)
            load.add(before, count)
            seq.computed = before + count
            if length > seq.prompt and before + 1 == length:
                seq.metrics.decode += seconds
            else:
                seq.metrics.prefill += seconds
                load.prompt += count
                self._stats.tokens_prefilled += count
                self._scheduler.computed(seq, seq.todo == 0)
        self._counted = work, load

    def _score(self, step: Step) -> None:
        for rows, logits in step.scores():
            targets = torch.tensor([target for _, target in rows], device=logits.device)
            for (seq, target), likely in zip(
                rows, logprobs(logits, targets, [seq.score_top for seq, _ in rows]), strict=True
            ):
                seq.infos.append(self._words.info(target, likely, self._words.text(target)))
            self._stats.tokens_scored += len(rows)

    # ---------------------------------------------------------------------------------------------- tokens

    def _accept(self, seq: Sequence, token: int, likely: Likely | None, now: float) -> None:
        """Append a chosen token, and find out whether it is the last one. Its text waits, unless it could stop it."""
        seq.tokens.append(token)
        if seq.counts is not None and seq.seen is not None:
            seq.counts[token] += 1
            seq.seen[token] = True
        if seq.last_token_at is None:
            seq.metrics.ttft = now - seq.submitted_at
        else:
            seq.metrics.itl.append(now - seq.last_token_at)
        seq.last_token_at = now
        how = seq.sampling
        ends = token in how.stop_ids or (not how.ignore_eos and token in self.tokenizer.eos_ids)
        full = seq.generated >= seq.limit
        shown = self._untold.show(seq, token, likely, ends, ends or full) if how.stop else None
        if ends or (how.stop and seq.visible is not None and seq.visible.stopped):
            self._finish(seq, "stop", shown, token, likely, ends)
        elif full:
            self._finish(seq, "length", shown, token, likely)
        else:
            self._untold.add(seq, None, shown, token, likely)

    def _tell(self) -> None:
        """Catch up with the last step: count it, name its pages, and tell everybody what it chose."""
        if self._counted is not None:
            (work, load), self._counted = self._counted, None
            self._meter.step(self._stats, load)
            self._stats.tokens_generated += load.chosen
            for item in work:
                self._scheduler.computed(item.seq, False)
        for seq, output in self._untold.take():
            self._deliver(output, seq)

    # ----------------------------------------------------------------------------------------- going out

    def _finish(self, seq: Sequence, reason: FinishReason, shown: Shown | None, *last: Any) -> None:
        """A sequence leaves; its last news (`shown`, or what its `last` token shows) are due."""
        self._scheduler.remove(seq, keep=seq.lane == "generate" or seq.cached == 0)
        seq.finish = reason
        seq.metrics.total = time.perf_counter() - seq.submitted_at
        if reason != "cancelled":
            self._stats.finished += 1
        self._stats.tokens_cached += seq.cached
        self._stats.observe(seq.metrics, reason != "cancelled")
        self._untold.add(seq, reason, shown, *last)

    def _fail(self, seqs: list[Sequence], error: Exception) -> None:
        with contextlib.suppress(Exception):  # a reader that fails is why we are here, maybe
            self._tell()
        for seq in seqs:
            if seq.done:
                continue
            self._scheduler.remove(seq)
            known = isinstance(error, IdiolectError)
            seq.error = error if known else IdiolectError(f"the model failed: {type(error).__name__}: {error}")  # type: ignore[assignment]
            seq.metrics.total = time.perf_counter() - seq.submitted_at
            self._stats.failed += 1
            self._deliver(Output(seq.id, "", (), None, seq.usage(), seq.metrics, seq.error, seq.n_index), seq)

    def _deliver(self, output: Output, seq: Sequence) -> None:
        if output.last:
            seq.counts = seq.seen = None
        self._pending.append(output)
        if seq.sink is not None:
            seq.sink(output)

    def add_adapter(self, name: str, source: str | Path | Adapter, *, any_base: bool = False) -> None:
        """Serve an adapter (a folder, or one that was read or detached) under a name, from the next request on. Raises
        what `tune.read` raises, and `BadInput` when the name is taken or this engine's runner cannot serve the kind."""
        with self._lock:
            served = self.adapters.add(name, source, any_base)
            try:
                self._runner.add(served)
            except IdiolectError:
                self.adapters.remove(name)
                raise

    def remove_adapter(self, name: str) -> None:
        """Take no more requests for an adapter; those that run with it go on. `NotFound` with the nearest name."""
        with self._lock:
            self._retired.append(self.adapters.remove(name))
            self._retire()

    def _retire(self) -> None:
        """Let go of removed adapters that nobody uses any more."""
        used = {seq.adapter for seq in (*self._inbox, *self._scheduler.everyone())}
        for served in [one for one in self._retired if one.key not in used]:
            self._retired.remove(served)
            self._runner.drop(served)

    def forget(self) -> None:
        """Empty the prefix cache."""
        with self._lock:
            self._scheduler.prefix.clear()

    def stats(self) -> EngineStats:
        """A snapshot of counters and gauges; does not wait for a running step."""
        shot = self._stats.copy()
        shot.runner = str(self._runner)
        cached = self._scheduler.prefix.reclaimable
        shot.pages_total, shot.page_size, shot.kv_bytes = self._pages.count, self.config.page_size, self._cache.bytes
        shot.pages_free, shot.pages_cached = self._pages.free + cached, cached
        shot.running, shot.max_batch = len(self._scheduler.running), self.config.max_batch
        shot.recent, shot.quantised = self._meter.recent(), self._meter.cost.quantised
        shot.waiting = len(self._inbox) + sum(len(w) for w in self._scheduler.waiting.values())
        shot.preemptions = self._scheduler.preemptions
        return shot
