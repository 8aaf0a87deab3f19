"""The figures of a run, each with its interval, and the differences of systems that answered the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import BadInput, IdiolectError
from idiolect.evals.runs.run import Result
from idiolect.evals.stats import Adjusted, Advice, Estimate, advise, bootstrap, figure, holm, paired
from idiolect.evals.stats.paired import ALPHA
from idiolect.evals.stats.swap import swap
from idiolect.evals.types import Graded, Metric, Task

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """`figures` by metric, in the task's order; the first is the headline."""

    result: Result
    figures: dict[str, Estimate]

    @property
    def headline(self) -> Estimate:
        return next(iter(self.figures.values()))


@dataclass(frozen=True, slots=True)
class Contrast:
    """System minus baseline on one metric of one task. `p` is NaN where too few items (or groups: `differ`) differ to
    be tested; `better` is about the metric's own direction, and None unless interval and test agree."""

    task: str
    metric: Metric
    system: str
    baseline: str
    estimate: Estimate
    wins: int
    losses: int
    p: float
    correlation: float
    advice: Advice | None
    differ: int = 0

    @property
    def few(self) -> bool:
        """Too few items differ for a verdict."""
        return bool(np.isnan(self.p))

    @property
    def better(self) -> bool | None:
        if not self.estimate.clear_of(0.0) or not self.p < ALPHA:
            return None
        return (self.estimate.value > 0) == self.metric.higher_is_better


@dataclass(frozen=True)
class Comparison:
    """The differences from the first system; `adjusted` are Holm's p-values over the headline metrics that could be
    tested."""

    contrasts: list[Contrast]
    adjusted: Adjusted

    @property
    def headlines(self) -> list[Contrast]:
        seen: set[tuple[str, str]] = set()
        found = []
        for one in self.contrasts:
            if (one.task, one.system) not in seen:
                seen.add((one.task, one.system))
                found.append(one)
        return found

    @property
    def p(self) -> list[float | None]:
        """Holm's p-value of each of `headlines`; None where too few items differ."""
        tested = iter(self.adjusted.p)
        return [None if one.few else next(tested) for one in self.headlines]


def columns(rows: Sequence[Graded]) -> dict[str, Floats]:
    """The grades as arrays [n], NaN where an item has none."""
    names = list(dict.fromkeys(name for row in rows for name in row.grade))
    return {name: np.array([row.grade.get(name, np.nan) for row in rows], np.float64) for name in names}


def groups(rows: Sequence[Graded]) -> list[object] | None:
    """Which items belong together; None where each stands alone."""
    found = [row.item.meta.get("group") for row in rows]
    if len(set(found) - {None}) + found.count(None) == len(found):  # groups of one
        return None
    return [g if g is not None else f"#{i}" for i, g in enumerate(found)] if any(g is not None for g in found) else None


def summarise(result: Result, *, draws: int = 2000, seed: int = 0) -> Summary:
    """Every metric of the task. `BadInput` when no item has a score."""
    rows = result.rows
    scored = [row for row in rows if not row.failed]
    if not scored:
        first = next((row.reply.error for row in rows if row.failed), "")  # type: ignore[union-attr]
        raise BadInput(f"no item of {result.task.name} was answered by {result.system}: {first}", hint="see the error")
    table, together = columns(rows), groups(rows)
    whole = set(result.task.aggregate(columns(scored)))
    figures: dict[str, Estimate] = {}
    for metric in result.metrics:
        if metric.name in whole:
            figures[metric.name] = _aggregate(result.task, metric, rows, together, min(draws, 1000), seed)
        elif metric.name in table:
            values = table[metric.name]
            figures[metric.name] = figure(values, share=metric.share, groups=together, draws=draws, seed=seed)
    return Summary(result, figures)


def _aggregate(
    task: Task, metric: Metric, rows: Sequence[Graded], together: list[object] | None, draws: int, seed: int
) -> Estimate:
    table = columns(rows)
    names = list(table)

    def whole(part: Floats) -> float:
        return float(task.aggregate({n: part[:, i] for i, n in enumerate(names)})[metric.name])

    return figure(np.stack(list(table.values()), 1), whole, share=metric.share, groups=together, draws=draws, seed=seed)


def contrast(a: Result, b: Result, metric: Metric, *, draws: int = 2000, seed: int = 0) -> Contrast:
    """`a` minus `b` on the items that both scored. `BadInput` when they did not answer the same task."""
    if a.task.hash != b.task.hash:
        raise BadInput(f"{a.system} and {b.system} answered different tasks", hint="compare runs of one task")
    mine, other = {row.item.id: row for row in a.rows}, {row.item.id: row for row in b.rows}
    both = [i for i in mine if i in other and not mine[i].failed and not other[i].failed]
    if not both:
        raise BadInput(f"{a.system} and {b.system} have no item in common", hint="run both on the same items")
    first, second = [mine[i] for i in both], [other[i] for i in both]
    one, two = columns(first), columns(second)
    together = groups(first)
    if metric.name in one and metric.name in two:
        found = paired(one[metric.name], two[metric.name], groups=together, draws=draws, seed=seed)
        advice = None if found.clear else _advice(one[metric.name], two[metric.name], found.correlation)
        wins, losses = (found.wins, found.losses) if metric.higher_is_better else (found.losses, found.wins)
        numbers = (wins, losses, found.p, found.correlation)
        return Contrast(a.task.name, metric, a.system, b.system, found.estimate, *numbers, advice, found.differ)
    estimate, p, differ = _difference(a.task, metric.name, one, two, together, min(draws, 1000), seed)
    return Contrast(a.task.name, metric, a.system, b.system, estimate, 0, 0, p, float("nan"), None, differ)


def _difference(
    task: Task,
    name: str,
    one: Mapping[str, Floats],
    two: Mapping[str, Floats],
    together: list[object] | None,
    draws: int,
    seed: int,
) -> tuple[Estimate, float, int]:
    """Of a figure that is no mean over items: estimate, p-value by swapping, and how many items or groups differ."""
    names = list(one)
    mine, other = (np.stack([side[key] for key in names], 1) for side in (one, two))

    def gap(a: Floats, b: Floats) -> float:
        first, second = (task.aggregate({key: t[:, i] for i, key in enumerate(names)})[name] for t in (a, b))
        return float(first - second)

    both = np.concatenate([mine, other], 1)
    known = np.isfinite(both).all(1)
    estimate = bootstrap(both, lambda part: gap(*np.split(part, 2, axis=1)), groups=together, draws=draws, seed=seed)
    kept = None if together is None else [g for g, ok in zip(together, known.tolist(), strict=True) if ok]
    p, differ = swap(mine[known], other[known], gap, kept, draws, seed)
    return estimate, p, differ


def _advice(a: Floats, b: Floats, correlation: float) -> Advice | None:
    """How many items this gap would need, for scores of right and wrong."""
    if not np.isin(a, (0.0, 1.0)).all() or not np.isin(b, (0.0, 1.0)).all():
        return None
    gap = abs(float(a.mean() - b.mean()))
    if gap == 0:
        return None
    try:
        shared = 0.0 if np.isnan(correlation) else min(max(correlation, -1.0), 0.999)
        return advise(gap, float(b.mean()), correlation=shared)
    except IdiolectError:
        return None


def compare(results: Sequence[Sequence[Result]], *, draws: int = 2000) -> Comparison:
    """`results[system][task]`: every system after the first against the first, on every metric of every task."""
    found = [
        contrast(mine, base, metric, draws=draws)
        for system in results[1:]
        for mine, base in zip(system, results[0], strict=True)
        for metric in _shared(mine, base)
    ]
    comparison = Comparison(found, holm([]))
    return Comparison(found, holm([one.p for one in comparison.headlines if not one.few]))


def _shared(a: Result, b: Result) -> list[Metric]:
    known = set(columns([r for r in a.rows if not r.failed])) | set(
        a.task.aggregate(columns([r for r in a.rows if not r.failed]))
    )
    return [metric for metric in b.metrics if metric.name in known]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same items asked twice: how many grades changed, and by how much the headline did."""

    task: str
    system: str
    items: int
    changed: int
    first: float
    second: float

    def __str__(self) -> str:
        return (
            f"{self.task}, {self.system}: {self.changed} of {self.items} items were graded differently the second "
            f"time; {self.first:.4g}, then {self.second:.4g}"
        )


def _other(a: float | None, b: float | None) -> bool:
    """Whether two grades differ; NaN (no score) twice is the same."""
    return a != b and not (a is not None and b is not None and np.isnan(a) and np.isnan(b))


def repeatability(first: Result, second: Result) -> Repeat:
    """What asking again changed."""
    again = {row.item.id: row for row in second.rows}
    both = [(row, again[row.item.id]) for row in first.rows if row.item.id in again]
    shown = [metric.name for metric in first.metrics]
    changed = sum(
        any(_other(a.grade.get(name), b.grade.get(name)) for name in shown) or a.failed != b.failed for a, b in both
    )
    one, two = (next(iter(summarise(r, draws=50).figures.values())).value for r in (first, second))
    return Repeat(first.task.name, first.system, len(both), changed, one, two)
