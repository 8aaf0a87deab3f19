"""One system on one task: what is in the cache is not asked, what comes is stored before it counts."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idiolect.core.call import Usage
from idiolect.core.canonical import plain
from idiolect.core.errors import BadInput
from idiolect.core.progress import Sink, progress
from idiolect.core.store import NewEvent, Store
from idiolect.evals.runs import records
from idiolect.evals.types import (
    Failed,
    Generated,
    Graded,
    Item,
    Metric,
    Reply,
    Request,
    System,
    Task,
    packed,
    request_hash,
)


@dataclass(frozen=True, slots=True)
class Price:
    """Per million tokens read and written, in any currency."""

    read: float = 0.0
    written: float = 0.0

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.read + usage.completion_tokens * self.written) / 1e6

    @classmethod
    def parse(cls, text: str) -> Price:
        """`0.15,0.60`."""
        try:
            read, written = (float(part) for part in text.split(","))
        except ValueError:
            read = written = -1.0
        if not (0 <= read < float("inf") and 0 <= written < float("inf")):
            raise BadInput(f"price is {text!r}", hint="write READ,WRITTEN per million tokens, e.g. 0.15,0.60")
        return cls(read, written)


@dataclass(frozen=True)
class Result:
    """The rows in the task's order. `asked` counts requests that went to the system, `seconds` is their wall time."""

    id: str
    system: str
    fingerprint: str
    task: Task
    rows: list[Graded]
    asked: int
    cached: int
    seconds: float
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    by: tuple[str, ...] = ()  # who computed the replies: runner and numbers
    about: Mapping[str, str] = field(default_factory=dict)  # what the system says of itself
    weak: str = ""  # why its fingerprint may not tell two models apart

    @property
    def failed(self) -> list[Graded]:
        return [row for row in self.rows if row.failed]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return self.task.metrics


async def arun(
    system: System,
    task: Task,
    store: Store,
    *,
    limit: int | None = None,
    attempt: int = 0,
    fresh: bool = False,
    price: Price | None = None,
    sink: Sink | None = None,
) -> Result:
    """Ask, store, grade. `fresh` asks again what was asked before. Raises `BadInput` when the system cannot answer this
    kind of task at all."""
    items = list(task.items(limit))
    if not items:
        raise BadInput(f"{task.name} has no items", hint="look at its data")
    if (twice := next((name for name, n in Counter(item.id for item in items).items() if n > 1), None)) is not None:
        raise BadInput(f"{task.name}: several items are called {twice[:60]!r}", hint="give each its own id")
    _check(system, task, items)
    prepare = getattr(system, "prepare", None)
    if prepare is not None:
        await asyncio.to_thread(prepare, task)
    run_id = uuid.uuid4().hex
    opening = {
        "system": system.name,
        "fingerprint": system.fingerprint,
        "task": task.name,
        "hash": task.hash,
        "identity": task.identity(),
        "limit": limit,
        "attempt": attempt,
        "items": len(items),
        "metrics": [plain(metric) for metric in task.metrics],
    }
    await asyncio.wrap_future(store.submit([NewEvent(records.RUN, opening, run_id)], durable=False))
    hashes = [request_hash(item.request) for item in items]
    replies: dict[str, Reply] = {}
    by: dict[str, str] = {}
    for one in dict.fromkeys(hashes) if not fresh else ():
        found = records.cached(store, records.key(system.fingerprint, one, attempt))
        if found is not None:
            replies[one], by[one] = found
    hits = set(replies)
    wanted: dict[str, Request] = {h: i.request for h, i in zip(hashes, items, strict=True) if h not in replies}
    load, computes = getattr(system, "load", None), getattr(system, "by", None)
    if load is not None and wanted:
        await asyncio.to_thread(load, list(wanted.values()))
    usage, begin = Usage(), time.perf_counter()
    graded: dict[int, Graded] = {}
    waiting: dict[str, list[int]] = {}
    for place, one in enumerate(hashes):
        waiting.setdefault(one, []).append(place)

    async def settle(one: str, reply: Reply) -> None:
        """Store a reply and the grades of the items that asked for it; only then does it count."""
        events = []
        if one not in hits and not isinstance(reply, Failed):
            payload = {
                "fingerprint": system.fingerprint,
                "request_hash": one,
                "attempt": attempt,
                "reply": packed(reply),
                "by": by.get(one, ""),
            }
            events.append(NewEvent(records.REPLY, payload, records.key(system.fingerprint, one, attempt)))
        for place in waiting[one]:
            item = items[place]
            grade = {} if isinstance(reply, Failed) else dict(task.grade(item, reply))
            graded[place] = Graded(item, reply, grade)
            events.append(NewEvent(records.ITEM, records.item_payload(item, reply, grade, one in hits), run_id))
        await asyncio.wrap_future(store.submit(events, durable=False))

    with progress(f"{task.name}: {system.name}", total=len(items), unit="items", sink=sink) as bar:
        for one in list(replies):
            await settle(one, replies[one])
            bar.advance(len(waiting[one]))
        order = list(wanted)
        if order:
            async for index, reply in system.answer([wanted[one] for one in order]):
                replies[order[index]] = reply
                if computes is not None and not isinstance(reply, Failed):
                    by[order[index]] = computes(wanted[order[index]])
                await settle(order[index], reply)
                if isinstance(reply, Generated):
                    usage = usage + reply.usage
                bar.update(note=_note(usage, price, hits))
                bar.advance(len(waiting[order[index]]))
    seconds = time.perf_counter() - begin
    rows = [graded[place] for place in range(len(items)) if place in graded]
    cost = price.of(usage) if price is not None else None
    result = Result(
        run_id,
        system.name,
        system.fingerprint,
        task,
        rows,
        len(wanted),
        len(items) - sum(len(waiting[one]) for one in wanted),
        seconds,
        usage,
        cost,
        tuple(sorted({who for who in by.values() if who})),
        dict(getattr(system, "about", {})),
        str(getattr(system, "weak", "")),
    )
    closing = {
        "seconds": seconds,
        "asked": result.asked,
        "cached": result.cached,
        "failed": len(result.failed),
        "usage": plain(usage),
        "cost": cost,
        "by": list(result.by),
        "about": dict(result.about),
        "figures": _figures(result),
    }
    await asyncio.wrap_future(store.submit([NewEvent(records.DONE, closing, run_id)]))
    return result


def run(system: System, task: Task, store: Store, **how: Any) -> Result:
    """`arun` for callers without an event loop."""
    return asyncio.run(arun(system, task, store, **how))


def _check(system: System, task: Task, items: Sequence[Item]) -> None:
    needed = {type(item.request).__name__.lower() for item in items}
    for kind in sorted(needed - set(system.kinds)):
        raise BadInput(
            f"{system.name} cannot answer {task.name}: it gives no {kind} replies",
            hint=f"it answers {', '.join(sorted(system.kinds))}; choose other tasks, or another system",
        )


def _note(usage: Usage, price: Price | None, hits: set[str]) -> str:
    parts = []
    if usage.completion_tokens:
        parts.append(f"{usage.prompt_tokens + usage.completion_tokens:,} tokens")
    if price is not None:
        parts.append(f"cost {price.of(usage):.4f}")
    if hits:
        parts.append(f"{len(hits)} from the cache")
    return ", ".join(parts)


def _figures(result: Result) -> Mapping[str, Any]:
    from idiolect.evals.runs.summary import summarise

    return {name: plain(estimate) for name, estimate in summarise(result, draws=500).figures.items()}
