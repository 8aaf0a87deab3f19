"""Does A > B and B > C mean A > C? Intransitive triples say that no single ranking fits the pairs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from idiolect.evals.rank.matches import Table


@dataclass(frozen=True, slots=True)
class Triples:
    """Of the `n` triples in which every pair met and one of the two is ahead, `cycles` go round in a circle."""

    n: int
    cycles: tuple[tuple[str, str, str], ...]

    @property
    def share(self) -> float:
        """About 0.25 when the outcomes are coin flips."""
        return len(self.cycles) / self.n if self.n else float("nan")


def intransitive(table: Table) -> Triples:
    """Count the circles; a name is followed by the one it beats."""
    wins = table.wins()
    ahead = wins > wins.T
    n, cycles = 0, []
    for i, j, k in combinations(range(len(table.players)), 3):
        pairs = ((i, j), (j, k), (k, i))
        if not all(ahead[a, b] or ahead[b, a] for a, b in pairs):
            continue
        n += 1
        if all(ahead[a, b] for a, b in pairs):
            cycles.append((i, j, k))
        elif all(ahead[b, a] for a, b in pairs):
            cycles.append((i, k, j))
    names = table.players
    return Triples(n, tuple((names[a], names[b], names[c]) for a, b, c in cycles))
