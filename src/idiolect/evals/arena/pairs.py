"""Which two answers are shown next: of two systems that answered the same item, the least judged ones first."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idiolect.core.errors import NotFound
from idiolect.core.store import Store
from idiolect.evals.runs import records
from idiolect.evals.types import Generated, Graded

PAIR = "arena.pair"
NEWEST = 40  # runs that answers are taken from


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one item. `left` and `right` name runs; who is behind them is not for the one who chooses."""

    id: str
    task: str
    item: str
    left: str
    right: str
    systems: tuple[str, str]

    def payload(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "item": self.item,
            "left": self.left,
            "right": self.right,
            "systems": list(self.systems),
        }


def draw(
    store: Store, judged: Counter[tuple[str, frozenset[str]]], task: str | None = None
) -> tuple[Pair, Graded, Graded]:
    """A pair and its two answers, left first; the sides are drawn. `judged` counts the choices by (item of a task,
    systems). `NotFound`: no two systems wrote different answers to one item."""
    by_task: dict[str, list[records.RunLine]] = {}
    for line in records.runs(store, NEWEST):
        if task in (None, line.task) and not any(line.system == other.system for other in by_task.get(line.hash, [])):
            by_task.setdefault(line.hash, []).append(line)
    found: list[tuple[int, records.RunLine, records.RunLine, Graded, Graded]] = []
    for lines in by_task.values():
        if len(lines) < 2:
            continue
        answers = {line.id: written(store, line.id) for line in lines}
        for i, one in enumerate(lines):
            for other in lines[:i]:
                for id, row in answers[one.id].items():
                    against = answers[other.id].get(id)
                    if against is not None and _text(row) != _text(against):
                        key = (f"{one.task}/{id}", frozenset((one.system, other.system)))
                        found.append((judged[key], one, other, row, against))
    if not found:
        raise NotFound(
            "no two systems wrote different answers to one item",
            hint="run idiolect compare A B with a task whose answers are written, such as gsm8k or ifeval",
        )
    least = min(entry[0] for entry in found)
    _, one, other, row, against = secrets.choice([entry for entry in found if entry[0] == least])
    if secrets.randbelow(2):
        one, other, row, against = other, one, against, row
    drawn = Pair(secrets.token_hex(8), one.task, row.item.id, one.id, other.id, (one.system, other.system))
    return drawn, row, against


def written(store: Store, run: str) -> Mapping[str, Graded]:
    """The items of a run that were answered in words."""
    return {row.item.id: row for row in records.rows(store, run) if isinstance(row.reply, Generated)}


def pair(store: Store, id: str) -> Pair:
    """A pair that was shown."""
    for event in store.events(kind=PAIR, trace=id, limit=1):
        p = event.payload
        return Pair(id, p["task"], p["item"], p["left"], p["right"], (p["systems"][0], p["systems"][1]))
    raise NotFound(f"there is no pair {id[:40]!r}", hint="ask for a new one", param="pair")


def _text(row: Graded) -> str:
    assert isinstance(row.reply, Generated)
    return row.reply.text.strip()
