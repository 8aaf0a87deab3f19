"""Conversations: trees of nodes, rebuilt from the store's events: branches, cut answers and restarts lose nothing.

A `node` row is one turn. Its trace column holds the conversation's id, so that one index lookup gives a whole tree;
the trace of the answer is in the payload. A user's node is committed before anything is answered, an assistant's when
its answer has ended or was cut.
"""

from __future__ import annotations

import re
import threading
import uuid
from dataclasses import dataclass
from typing import Any

from idiolect.core.errors import BadInput, NotFound
from idiolect.core.store import Store, StoredEvent
from idiolect.gateway.recorder import Recorder

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELDS = ("parent", "role", "content", "model", "trace", "mode", "why", "citations", "notes", "timings", "finish")


@dataclass(slots=True)
class _Summary:
    id: str
    title: str
    updated: float
    nodes: int


def new_id() -> str:
    return uuid.uuid4().hex


def check_id(id: str, what: str) -> str:
    """`id`, if it can be one. `BadInput` otherwise."""
    if not _ID.fullmatch(id):
        raise BadInput(f"{what} {id[:40]!r} is no id", hint="use 1 to 64 of A-Z a-z 0-9 _ -", param=what)
    return id


def node(
    role: str,
    content: str,
    *,
    parent: str | None,
    model: str = "",
    trace: str = "",
    mode: str = "",
    why: str = "",
    citations: list[dict[str, Any]] | None = None,
    notes: list[dict[str, Any]] | None = None,
    timings: dict[str, float] | None = None,
    finish: str | None = None,
) -> dict[str, Any]:
    """The payload of a new node, with a fresh id."""
    return {
        "id": new_id(),
        "parent": parent,
        "role": role,
        "content": content,
        "model": model,
        "trace": trace,
        "mode": mode,
        "why": why,
        "citations": citations or [],
        "notes": notes or [],
        "timings": timings or {},
        "finish": finish,
    }


class Conversations:
    """Reads trees from the store, and writes nodes through the recorder. All processes on one store see all of it."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self._store, self._recorder = store, recorder
        self._lock = threading.Lock()
        self._summaries: dict[str, _Summary] = {}
        self._read = 0

    def all(self) -> list[dict[str, Any]]:
        """Every conversation, the latest first."""
        with self._lock:
            for row in self._store.events(kind="node", after=self._read):
                self._read = row.seq
                self._count(row)
            found = sorted(self._summaries.values(), key=lambda s: s.updated, reverse=True)
            return [{"id": s.id, "title": s.title, "updated": s.updated, "nodes": s.nodes} for s in found]

    def _count(self, row: StoredEvent) -> None:
        known = self._summaries.get(row.trace)
        if known is None:
            self._summaries[row.trace] = _Summary(row.trace, _title(row.payload["content"]), row.time, 1)
        else:
            known.updated, known.nodes = row.time, known.nodes + 1

    def nodes(self, conversation: str) -> list[dict[str, Any]]:
        """The nodes of a tree, oldest first, each with the last feedback that it got. Empty: no such conversation."""
        rows = [r for r in self._store.events(trace=conversation) if r.kind == "node"] if conversation else []
        return [
            {
                "id": row.payload["id"],
                **{name: row.payload.get(name) for name in _FIELDS},
                "feedback": self._feedback(row.payload),
                "created": row.time,
            }
            for row in rows
        ]

    def tree(self, conversation: str) -> dict[str, Any]:
        """The conversation as the page shows it. `NotFound` when there is none of this id."""
        nodes = self.nodes(conversation)
        if not nodes:
            raise NotFound(f"no conversation {conversation[:64]!r}")
        return {"id": conversation, "title": _title(nodes[0]["content"]), "nodes": nodes}

    def _feedback(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        if payload["role"] != "assistant" or not payload["trace"]:
            return None
        for row in self._store.events(kind="feedback", trace=payload["trace"], newest_first=True):
            if row.payload.get("node") in (None, payload["id"]):
                given = {name: row.payload.get(name) for name in ("value", "reason", "correction")}
                return given if given["value"] != 0 or given["correction"] else None
        return None

    def check_parent(self, conversation: str, parent: str | None, *, role: str | None = None) -> None:
        """Refuse a parent that is no node of this conversation (or has another role than `role`)."""
        if parent is None:
            return
        for row in self._store.events(trace=conversation):
            if row.kind == "node" and row.payload["id"] == parent:
                if role is not None and row.payload["role"] != role:
                    raise BadInput(f"node {parent!r} is no {role}'s", param="idiolect.parent")
                return
        raise NotFound(f"conversation {conversation!r} has no node {parent[:64]!r}", param="idiolect.parent")

    async def add(self, conversation: str, payload: dict[str, Any]) -> str:
        """Commit a node; returns its id."""
        await self._recorder.commit("node", payload, conversation, durable=True)
        return str(payload["id"])

    def add_soon(self, conversation: str, payload: dict[str, Any]) -> None:
        """Write a node without waiting: for answers that were cut, whose caller is gone."""
        self._recorder.put("node", payload, conversation)


def _title(content: str) -> str:
    line = " ".join(content.split())
    return line if len(line) <= 80 else line[:79] + "…"
