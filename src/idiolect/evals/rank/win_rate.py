"""How often a system is better than another, and the mean over the others and over tasks (HELM, arXiv:2211.09110)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.evals.rank.matches import Table


def win_rates(table: Table) -> dict[str, float]:
    """Each player's share of points against the others, every opponent counting alike; NaN for who never played."""
    wins = table.wins()
    played = wins + wins.T
    with np.errstate(invalid="ignore"):
        share = np.where(played > 0, wins / np.maximum(played, 1e-300), np.nan)
    out = {}
    for i, name in enumerate(table.players):
        known = share[i][~np.isnan(share[i])]
        out[name] = float(known.mean()) if len(known) else float("nan")
    return out


def mean_win_rate(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`scores[system][task]` -> for each system the share of (task, other system) that it beats, a tie being half.

    Tasks have different units, so their scores are compared and never averaged. `BadInput` when a system lacks a task.
    """
    tasks = sorted({task for found in scores.values() for task in found})
    for system, found in scores.items():
        if missing := [t for t in tasks if t not in found]:
            raise BadInput(f"{system!r} has no score for {', '.join(missing)}", hint="a win rate needs every task")
    out = {}
    for system, found in scores.items():
        points = [
            1.0 if found[t] > other[t] else 0.5 if found[t] == other[t] else 0.0
            for name, other in scores.items()
            if name != system
            for t in tasks
        ]
        out[system] = sum(points) / len(points) if points else float("nan")
    return dict(sorted(out.items(), key=lambda row: -row[1]))
