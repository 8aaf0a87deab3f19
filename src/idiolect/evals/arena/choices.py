"""What people chose, and the ranking that follows from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from idiolect.core.store import Store
from idiolect.evals.rank import Match, Ranking, Table, bradley_terry, elo
from idiolect.evals.stats import Estimate

CHOICE = "arena.choice"
Side = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: `left` and `right` are systems."""

    task: str
    item: str
    left: str
    right: str
    side: Side

    @property
    def match(self) -> Match:
        return Match(self.left, self.right, {"left": 1.0, "right": 0.0, "tie": 0.5}[self.side])


def choices(store: Store, task: str | None = None) -> list[Choice]:
    """All choices, the oldest first."""
    found = []
    for event in store.events(kind=CHOICE):
        p = event.payload
        if task in (None, p["task"]):
            found.append(Choice(p["task"], p["item"], p["systems"][0], p["systems"][1], p["choice"]))
    return found


def judged(found: list[Choice]) -> Counter[tuple[str, frozenset[str]]]:
    """How often each pair of systems was judged on each item."""
    return Counter((f"{c.task}/{c.item}", frozenset((c.left, c.right))) for c in found)


def standings(found: list[Choice]) -> tuple[Ranking, dict[str, Estimate], float] | None:
    """Bradley-Terry, Elo over random orders, and the share of decided choices that went to the left side (0.5 where
    sides do not matter). None without a choice."""
    if not found:
        return None
    table = Table([c.match for c in found])
    decided = [c.side for c in found if c.side != "tie"]
    left = sum(side == "left" for side in decided) / len(decided) if decided else 0.5
    return bradley_terry(table), elo(table), left
