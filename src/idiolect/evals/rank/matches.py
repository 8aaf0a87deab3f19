"""Matches between named players: what every ranking is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Match:
    """`score` is what `a` got: 1 won, 0 lost, 0.5 a tie."""

    a: str
    b: str
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise BadInput(f"a match's score is {self.score}", hint="give 1 (a won), 0 (b won) or 0.5 (a tie)")
        if self.a == self.b:
            raise BadInput(f"{self.a!r} plays against itself", hint="give two different names")


class Table:
    """Who won how often against whom. `wins[i, j]` is what player i got against j (a tie is half a win)."""

    def __init__(self, matches: Iterable[Match], players: Sequence[str] = ()) -> None:
        self.matches = tuple(matches)
        named = dict.fromkeys([*players, *(n for m in self.matches for n in (m.a, m.b))])
        self.players = tuple(named)
        if len(self.players) < 2:
            raise BadInput("a ranking needs two players and a match", hint="compare at least two systems")
        index = {name: i for i, name in enumerate(self.players)}
        self.ends: NDArray[np.intp] = np.array([(index[m.a], index[m.b]) for m in self.matches], np.intp).reshape(-1, 2)
        self.scores: NDArray[np.float64] = np.array([m.score for m in self.matches], np.float64)

    def wins(self, rows: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """[P, P] of all matches, or of the ones drawn (`rows`, with repetition)."""
        ends, scores = (self.ends, self.scores) if rows is None else (self.ends[rows], self.scores[rows])
        out = np.zeros((len(self.players),) * 2)
        np.add.at(out, (ends[:, 0], ends[:, 1]), scores)
        np.add.at(out, (ends[:, 1], ends[:, 0]), 1 - scores)
        return out
