"""What a run leaves in the store, and how it is read back.

| kind | trace | payload |
|---|---|---|
| eval.reply | cache key | system fingerprint, request hash, attempt, reply, who computed it |
| eval.run | run id | system, fingerprint, task, its hash and identity, limit, attempt, items |
| eval.item | run id | item id, request, target, meta, reply, grade, whether it was in the cache |
| eval.done | run id | seconds, asked, cached, failed, usage, figures |

A reply is asked for once: its key is the hash of (system fingerprint, request hash), so an interrupted run goes on
where it was, and another task that asks the same costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from idiolect.core.canonical import digest
from idiolect.core.errors import NotFound
from idiolect.core.store import Store
from idiolect.evals.types import Failed, Graded, Item, Reply, packed, request_hash, unpacked

REPLY, RUN, ITEM, DONE = "eval.reply", "eval.run", "eval.item", "eval.done"


def key(fingerprint: str, request: str, attempt: int = 0) -> str:
    """The cache key of a reply; `attempt` above 0 asks again, for repeatability."""
    return digest("reply", fingerprint, request, *([str(attempt)] if attempt else []))


def cached(store: Store, key: str) -> tuple[Reply, str] | None:
    """The last reply that was stored under a key, and who computed it."""
    for event in store.events(kind=REPLY, trace=key, limit=1, newest_first=True):
        return unpacked(event.payload["reply"]), str(event.payload.get("by", ""))
    return None


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run, as a list shows it. `done` is None for a run that was stopped, or still goes on."""

    id: str
    started: float
    system: str
    fingerprint: str
    task: str
    hash: str
    items: int
    metrics: tuple[Mapping[str, Any], ...]
    done: Mapping[str, Any] | None


def runs(store: Store, limit: int = 100) -> list[RunLine]:
    """The last runs, the newest first."""
    return [_line(store, event.trace, event.time, event.payload) for event in store.events(RUN, None, 0, limit, True)]


def run(store: Store, id: str) -> RunLine:
    """One run by its id, or by the beginning of it. `NotFound`: none."""
    for event in store.events(kind=RUN, newest_first=True):
        if id and event.trace.startswith(id):
            return _line(store, event.trace, event.time, event.payload)
    raise NotFound(f"there is no run {id!r}", hint="idiolect eval --runs lists them")


def _line(store: Store, id: str, time: float, payload: Mapping[str, Any]) -> RunLine:
    done = next((event.payload for event in store.events(kind=DONE, trace=id, limit=1)), None)
    return RunLine(
        id,
        time,
        payload["system"],
        payload["fingerprint"],
        payload["task"],
        payload["hash"],
        payload["items"],
        tuple(payload["metrics"]),
        done,
    )


def rows(store: Store, id: str) -> Iterator[Graded]:
    """The items of a run, in the order in which their answers came."""
    for event in store.events(kind=ITEM, trace=id):
        p = event.payload
        item = Item(p["item"], unpacked(p["request"]), p["target"], p["meta"])
        yield Graded(item, unpacked(p["reply"]), {k: float(v) for k, v in p["grade"].items()})


def item_payload(item: Item, reply: Reply, grade: Mapping[str, float], hit: bool) -> dict[str, Any]:
    return {
        "item": item.id,
        "request": packed(item.request),
        "request_hash": request_hash(item.request),
        "target": item.target,
        "meta": dict(item.meta),
        "reply": packed(reply),
        "grade": dict(grade),
        "cached": hit,
        "failed": isinstance(reply, Failed),
    }
