"""The exact cache: the same deterministic question is answered from the store.

A hit needs the same model, messages or prompt, sampling, options, tools and tenant, and the same `fingerprint` (model
weights, prompt files, index content), so a changed document or prompt is a miss, never a stale answer. Only calls whose
answer is a function of the question are kept: temperature 0 or a seed. Nothing is copied: a `cached` row points at
the trace whose rows are replayed, so the cache survives a restart and is shared by all processes on one store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from typing import Any

from idiolect.core.call import Call, Ctx, Event, Finished, Handler, Note, Timing
from idiolect.core.store import Store
from idiolect.gateway import wire
from idiolect.gateway.layers.trace import settings
from idiolect.gateway.recorder import Recorder
from idiolect.gateway.streams import closing

_BYPASS = "no_cache"  # call.options: answer anew ("regenerate")


def cacheable(call: Call) -> bool:
    return (call.sampling.temperature == 0 or call.sampling.seed is not None) and not call.options.get(_BYPASS)


def key(call: Call, tenant: str, fingerprint: str) -> str:
    """sha256 over everything that the answer depends on."""
    parts: dict[str, Any] = {
        "model": call.model,
        "messages": [wire.message(m) for m in call.messages],
        "prompt": list(call.prompt) if isinstance(call.prompt, tuple) else call.prompt,
        "sampling": settings(call.sampling),
        "n": call.n,
        "tools": [dict(tool) for tool in call.tools],
        "options": {name: value for name, value in call.options.items() if name != _BYPASS},
        "tenant": tenant,
        "fingerprint": fingerprint,
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class Cache:
    """Needs the trace layer outside it (the rows that it replays). `size` answers are kept ready in memory."""

    def __init__(
        self, store: Store, recorder: Recorder, *, fingerprint: Callable[[], str] = str, size: int = 512
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._store, self._recorder, self._fingerprint = store, recorder, fingerprint
        self._size = size
        self._ready: OrderedDict[str, tuple[str, tuple[Event, ...]]] = OrderedDict()  # key -> trace, its events
        self._traces: dict[str, str] = {}  # key -> trace, of all rows read so far
        self._read = 0  # the last row read

    async def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        if not cacheable(call):
            async with closing(next(call, ctx)) as events:
                async for event in events:
                    yield event
            return
        name = key(call, ctx.tenant, self._fingerprint())
        found = self._ready.get(name) or await asyncio.to_thread(self._find, name, call.n)
        if found is not None:
            self.hits += 1
            trace, kept = found
            self._keep(name, trace, kept)
            yield Note("cache", "the same question was answered before; this is that answer", {"trace": trace})
            for event in kept:
                yield event
            return
        self.misses += 1
        seen: list[Event] = []
        finished, sound = 0, True
        async with closing(next(call, ctx)) as events:
            async for event in events:
                if not _of_a_run(event):
                    seen.append(event)
                if isinstance(event, Note) and event.code == "fallback":
                    sound = False  # a stand-in's answer must not outlive the failure
                if isinstance(event, Finished):
                    finished += 1
                    sound = sound and event.reason != "cancelled"
                    if finished == call.n and sound:
                        self._keep(name, ctx.trace, tuple(seen))
                        self._recorder.put("cached", {"key": name}, ctx.trace)
                yield event

    def _keep(self, name: str, trace: str, events: tuple[Event, ...]) -> None:
        self._ready[name] = (trace, events)
        self._ready.move_to_end(name)
        while len(self._ready) > self._size:
            self._ready.popitem(last=False)

    def _find(self, name: str, n: int) -> tuple[str, tuple[Event, ...]] | None:
        """Look in the store, at the rows that came since the last look first."""
        for row in self._store.events(kind="cached", after=self._read):
            self._traces[row.payload["key"]] = row.trace
            self._read = max(self._read, row.seq)
        trace = self._traces.get(name)
        if trace is None:
            return None
        events: list[Event] = []
        for row in self._store.events(trace=trace):
            event = wire.decode(row.kind, row.payload)
            if event is not None and not _of_a_run(event):
                events.append(event)
        whole = sum(isinstance(event, Finished) for event in events) == n
        return (trace, tuple(events)) if whole else None  # a process killed between the rows leaves half a trace


def _of_a_run(event: Event) -> bool:
    """Times and speeds: those of another run would be none of the replay's."""
    return isinstance(event, Timing) or (isinstance(event, Note) and event.code == "speed")
