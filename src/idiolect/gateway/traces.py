"""Reading traces back from the store, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from idiolect.core.errors import NotFound
from idiolect.core.store import Store, StoredEvent


def latest(store: Store, limit: int) -> list[dict[str, Any]]:
    """One line for each of the last `limit` traces, the newest first. A call that still runs, or that a kill cut off,
    has no totals yet."""
    lines = []
    for root in store.events(kind="call", limit=limit, newest_first=True):
        done = next(iter(store.events(kind="done", trace=root.trace, limit=1)), None)
        totals = done.payload if done is not None else {}
        lines.append(
            {
                "trace": root.trace,
                "started": root.time,
                "model": totals.get("model") or root.payload["model"],
                "question": root.payload["question"],
                "mode": totals.get("mode", ""),
                "seconds": totals.get("seconds"),
                "tokens": totals.get("tokens"),
            }
        )
    return lines


def one(store: Store, trace: str) -> dict[str, Any]:
    """Every row of a trace in order; consecutive `tokens` rows of a choice are joined. `NotFound`: none."""
    rows = list(store.events(trace=trace)) if trace else []
    if not any(row.kind == "call" for row in rows):
        raise NotFound(f"no trace {trace[:64]!r}")
    return {"trace": trace, "events": list(_joined(rows, store))}


def _joined(rows: Iterable[StoredEvent], store: Store) -> Iterable[dict[str, Any]]:
    held: dict[str, Any] | None = None
    for row in rows:
        line = {**row.payload, "seq": row.seq, "time": row.time, "kind": row.kind}
        if row.kind == "call" and row.chain:
            line["messages"] = [
                {"role": m.role, "content": m.content} | ({"name": m.name} if m.name else {})
                for m in store.chain(row.chain)
            ]
        if row.kind == "tokens" and held is not None and held["index"] == line["index"]:
            held["text"] += line["text"]
            held["tokens"] += line["tokens"]
            continue
        if held is not None:
            yield held
            held = None
        if row.kind == "tokens":
            held = line
        else:
            yield line
    if held is not None:
        yield held
