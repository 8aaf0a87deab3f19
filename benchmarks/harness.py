"""What every benchmark shares: its result, its arguments, and how a rival is timed beside us.

A benchmark is one module here with `SUMMARY` (one sentence), optionally `add_arguments(parser)`, and
`run(args) -> Result`. It prints whatever a reader wants to see and returns the one figure that it stands for.
Rivals are dev extras; a benchmark imports its rival inside `run`, and runs it in the same process tree, in turn with
ours (A B A B ...), so that a machine whose speed drifts moves both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from numpy.typing import ArrayLike

from idiolect.evals.stats import bootstrap


@dataclass(slots=True)
class Result:
    """One figure beside its rival. `ratio` is ours/rival, or rival/ours where lower is better (say so in `unit`).
    `goal` is what the project asks of `ratio` or `ours`, in words; `met` whether this run reached it."""

    bench: str
    ours: float
    rival: float | None
    ratio: float | None
    unit: str
    n: int
    goal: str = ""
    met: bool | None = None
    notes: list[str] = field(default_factory=list)

    def line(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v not in ("", [], None) or k in ("rival", "ratio")})


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of repeated measurements."""

    low: float
    median: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.low:.4g}/{self.median:.4g}/{self.high:.4g} (n={self.n})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), statistics.median(values), max(values), len(values))


def interleave(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each side once per round, in turn; each call returns its own figure (tokens/s, seconds, ...)."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            figures[name].append(side())
    return figures


def ratios(ours: Sequence[float], rival: Sequence[float]) -> Spread:
    """Ratio round by round, so that drift between rounds cancels."""
    return spread([a / b for a, b in zip(ours, rival, strict=True)])


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def interval(values: ArrayLike) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over items. Give differences to pair two systems."""
    found = bootstrap(values, draws=10_000)
    return found.low, found.high


def data_path(root: str, relative: str) -> Path:
    """A file below the data folder given on the command line, or a one-line error that says how to give one."""
    path = Path(root) / relative
    if not path.exists():
        raise SystemExit(f"benchmark data not found: {path} (give the folder with --data DIR)")
    return path
