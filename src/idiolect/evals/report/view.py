"""What a report says, before it is put into any form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idiolect.evals.report.notes import about_systems, notes, verdict
from idiolect.evals.runs import Comparison, Contrast, Repeat, Result, Summary, compare, summarise
from idiolect.evals.stats import Estimate
from idiolect.evals.types import Choose, Chosen, Found, Generate, Generated, Graded, Metric, Roll, Search

SHOWN_ITEMS = 200  # of a task, in the page


@dataclass(frozen=True)
class Line:
    """One metric of a task: a figure for each system, in the report's order."""

    metric: Metric
    figures: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Section:
    """One task."""

    task: str
    about: str
    hash: str
    items: int
    lines: tuple[Line, ...]
    results: tuple[Result, ...]
    contrasts: tuple[Contrast, ...]

    @property
    def failed(self) -> dict[str, int]:
        return {r.system: len(r.failed) for r in self.results if r.failed}


@dataclass(frozen=True)
class Made:
    """What a system is made of, over all its runs: `about` in its own words; who `scored` and who `wrote` its replies;
    `weak`: why kept answers may be another model's."""

    system: str
    about: Mapping[str, str]
    scored: tuple[str, ...] = ()
    wrote: tuple[str, ...] = ()
    weak: str = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.about or self.scored or self.wrote)

    def __str__(self) -> str:
        said = [f"{name} {text}" for name, text in self.about.items()]
        said += [f"scored by {who}" for who in self.scored] + [f"written by {who}" for who in self.wrote]
        return f"{self.system}: {'; '.join(said)}" if said else self.system


def made(results: Sequence[Result]) -> Made:
    """Of one system's runs."""
    by: dict[bool, set[str]] = {True: set(), False: set()}
    for result in results:
        writes = any(isinstance(row.item.request, Generate) for row in result.rows)
        by[writes] |= set(result.by)
    first = results[0]
    return Made(first.system, first.about, tuple(sorted(by[False])), tuple(sorted(by[True])), first.weak)


@dataclass(frozen=True)
class Report:
    systems: tuple[str, ...]
    sections: tuple[Section, ...]
    comparison: Comparison | None
    repeats: tuple[Repeat, ...] = ()
    notes: tuple[str, ...] = field(default=())
    made: tuple[Made, ...] = ()


def build(results: Sequence[Sequence[Result]], repeats: Sequence[Repeat] = (), *, draws: int = 2000) -> Report:
    """`results[system][task]`, every system on the same tasks; the first system is the baseline."""
    summaries = [[summarise(one, draws=draws) for one in row] for row in results]
    comparison = compare(results, draws=draws) if len(results) > 1 else None
    sections = []
    for place, first in enumerate(results[0]):
        column = [row[place] for row in summaries]
        mine = () if comparison is None else tuple(c for c in comparison.contrasts if c.task == first.task.name)
        sections.append(
            Section(
                first.task.name,
                str(getattr(first.task, "about", "")),
                first.task.hash,
                len(first.rows),
                tuple(_lines(column)),
                tuple(row[place] for row in results),
                mine,
            )
        )
    of = tuple(made(row) for row in results)
    return Report(
        tuple(row[0].system for row in results),
        tuple(sections),
        comparison,
        tuple(repeats),
        (*about_systems(of), *notes(comparison, sections)),
        of,
    )


def _lines(column: Sequence[Summary]) -> list[Line]:
    metrics = column[0].result.metrics
    lines = [Line(m, tuple(s.figures.get(m.name) for s in column)) for m in metrics]
    return [line for line in lines if any(figure is not None for figure in line.figures)]


def number(estimate: Estimate | None, metric: Metric, *, sign: bool = False) -> str:
    """`43.2 [40.1, 46.5]`; shares in percent."""
    if estimate is None:
        return "-"
    scale, digits = (100.0, 1) if metric.share else (1.0, 3)
    plus = "+" if sign else ""

    def one(value: float) -> str:
        return f"{value * scale:{plus}.{digits}f}" if math.isfinite(value) else "?"

    if not estimate.bounded:
        return one(estimate.value)
    return f"{one(estimate.value)} [{one(estimate.low)}, {one(estimate.high)}]"


def plain(report: Report) -> dict[str, Any]:
    """Everything as plain data, for scripts."""
    adjusted = {}
    if report.comparison is not None:
        adjusted = {
            (c.task, c.system, c.metric.name): p
            for c, p in zip(report.comparison.headlines, report.comparison.p, strict=True)
        }
    return {
        "systems": list(report.systems),
        "made": [
            {
                "system": m.system,
                "about": dict(m.about),
                "scored": list(m.scored),
                "wrote": list(m.wrote),
                "weak": m.weak,
            }
            for m in report.made
        ],
        "tasks": [
            {
                "task": s.task,
                "about": s.about,
                "hash": s.hash,
                "items": s.items,
                "runs": [
                    {
                        "system": r.system,
                        "run": r.id,
                        "fingerprint": r.fingerprint,
                        "asked": r.asked,
                        "cached": r.cached,
                        "failed": len(r.failed),
                        "seconds": r.seconds,
                        "prompt_tokens": r.usage.prompt_tokens,
                        "completion_tokens": r.usage.completion_tokens,
                        "cost": r.cost,
                        "figures": {
                            line.metric.name: _estimate(figure)
                            for line in s.lines
                            if (figure := line.figures[i]) is not None
                        },
                    }
                    for i, r in enumerate(s.results)
                ],
                "differences": [
                    {
                        "system": c.system,
                        "baseline": c.baseline,
                        "metric": c.metric.name,
                        **_estimate(c.estimate),
                        "wins": c.wins,
                        "losses": c.losses,
                        "differ": c.differ,
                        "p": _finite(c.p),
                        "correlation": _finite(c.correlation),
                        "p_holm": adjusted.get((c.task, c.system, c.metric.name)),
                        "verdict": verdict(c, adjusted.get((c.task, c.system, c.metric.name))),
                    }
                    for c in s.contrasts
                ],
            }
            for s in report.sections
        ],
        "repeats": [str(one) for one in report.repeats],
        "notes": list(report.notes),
    }


def _estimate(e: Estimate) -> dict[str, Any]:
    return {
        "value": _finite(e.value),
        "low": _finite(e.low),
        "high": _finite(e.high),
        "error": _finite(e.error),
        "n": e.n,
        "unscored": e.unscored,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def words(row: Graded) -> tuple[str, str, str]:
    """An item for a reader: what was asked, what is right, what was said."""
    request, reply = row.item.request, row.reply
    match request:
        case Choose():
            asked = request.context if isinstance(request.context, str) else request.context[-1].content
            right = request.options[int(row.item.target)] if isinstance(row.item.target, int) else str(row.item.target)
        case Generate():
            asked = (
                request.prompt
                if request.prompt is not None
                else request.messages[-1].content
                if request.messages
                else ""
            )
            right = str(row.item.target)
        case Roll():
            asked, right = request.text[:400], ""
        case Search():
            asked, right = request.query, ", ".join(list(row.item.target)[:10])
    match reply:
        case Chosen() if isinstance(request, Choose):
            said = request.options[reply.best]
        case Generated():
            said = reply.text
        case Found():
            said = ", ".join(reply.ids[:10])
        case _:
            said = getattr(reply, "error", "")
    return asked[-600:], right.strip(), said.strip()


def items(section: Section) -> list[dict[str, Any]]:
    """The items side by side, those on which the systems differ first."""
    if not section.lines:
        return []
    name = section.lines[0].metric.name
    by_system: list[Mapping[str, Graded]] = [{row.item.id: row for row in r.rows} for r in section.results]
    found = []
    for row in section.results[0].rows:
        rows = [known.get(row.item.id) for known in by_system]
        values = [None if one is None else one.grade.get(name) for one in rows]
        if values[0] is None and all(v is None for v in values):
            continue
        asked, right, _ = words(row)
        said = ["" if one is None else words(one)[2][:400] for one in rows]
        found.append({"id": row.item.id, "asked": asked, "right": right, "said": said, "values": values})
    found.sort(key=lambda one: len(set(one["values"])) == 1)
    return found[:SHOWN_ITEMS]


def heat(section: Section) -> list[tuple[str, list[float], list[int], list[list[float]]]]:
    """(system, depths, lengths, mean by depth and length) of a task whose items have a depth and a length."""
    found = []
    for result in section.results:
        cells: dict[tuple[float, int], list[float]] = {}
        for row in result.rows:
            meta = row.item.meta
            if "depth" in meta and "length" in meta and not row.failed:
                cells.setdefault((meta["depth"], meta["length"]), []).append(row.grade[section.lines[0].metric.name])
        if not cells:
            return []
        depths, lengths = sorted({d for d, _ in cells}), sorted({n for _, n in cells})
        table = [[_mean(cells.get((d, n), [])) for n in lengths] for d in depths]
        found.append((result.system, depths, lengths, table))
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
