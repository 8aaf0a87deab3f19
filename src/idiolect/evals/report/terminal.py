"""A report on a terminal."""

from __future__ import annotations

from typing import Any

from idiolect.evals.report.notes import verdict
from idiolect.evals.report.view import Report, heat, number


def show(report: Report, console: Any = None) -> None:
    """Print the tables, then what a reader should know of them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = console or Console(highlight=False, soft_wrap=True)
    for one in report.made:
        if one.known:
            console.print(str(one), markup=False)
    # A figure and its interval go below each other where they do not fit beside each other, and systems too.
    names = 20 + max((len(s.task) + max(len(line.metric.name) for line in s.lines) for s in report.sections), default=0)
    wide = names + sum(max(20, len(name) + 2) for name in report.systems) <= console.width
    long = names + sum(max(16, len(name) + 2) for name in report.systems) > console.width
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=None)
    for name in ("task", "metric", "n", *(("system", "") if long else report.systems)):
        left = name in ("task", "metric", "system")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for section in report.sections:
        for place, line in enumerate(section.lines):
            head = (
                section.task if place == 0 else "",
                line.metric.name + ("" if line.metric.higher_is_better else " ↓"),
                str(section.items) if place == 0 else "",
            )
            figures = [number(figure, line.metric) for figure in line.figures]
            if long:
                for i, (system, figure) in enumerate(zip(report.systems, figures, strict=True)):
                    table.add_row(*(head if i == 0 else ("", "", "")), system, figure)
            else:
                table.add_row(*head, *(figure.replace(" ", " " if wide else "\n", 1) for figure in figures))
    console.print(table)
    if report.comparison is not None:
        console.print(_differences(report, console.width < 112, Table, box))
    for section in report.sections:
        for system, depths, lengths, cells in heat(section):
            console.print(_heat(section.task, system, depths, lengths, cells, Table, box))
    for cost in costs(report):
        console.print(cost, style="dim", markup=False)
    for repeat in report.repeats:
        console.print(f"repeated: {repeat}", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def _differences(report: Report, narrow: bool, Table: Any, box: Any) -> Any:
    """`narrow`: the metric stands below the task, and the interval below the difference."""
    assert report.comparison is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"difference from {report.systems[0]}, on the same items")
    for name in ("task", *(() if narrow else ("metric",)), "system", "difference", "wins/losses", "p (Holm)", ""):
        left = name in ("task", "metric", "system", "")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for one, p in zip(report.comparison.headlines, report.comparison.p, strict=True):
        marks = {"better": "green", "worse": "red"}
        word = verdict(one, p)
        style = marks.get(word, "")
        gap = number(one.estimate, one.metric, sign=True)
        table.add_row(
            *((f"{one.task}\n{one.metric.name}",) if narrow else (one.task, one.metric.name)),
            one.system,
            gap.replace(" ", "\n", 1) if narrow else gap,
            f"{one.wins}/{one.losses}" if one.wins or one.losses else "",
            "" if p is None else f"{p:.3g}",
            f"[{style}]{word}[/]" if style else word,
        )
    return table


def _heat(
    task: str, system: str, depths: list[float], lengths: list[int], cells: list[list[float]], Table: Any, box: Any
) -> Any:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{task}, {system}: found, by depth and length")
    table.add_column("depth")
    for length in lengths:
        table.add_column(f"{length:,}", justify="right")
    for depth, row in zip(depths, cells, strict=True):
        table.add_row(f"{depth:.0%}", *(f"{value:.0%}" for value in row))
    return table


def costs(report: Report) -> list[str]:
    """What each run took."""
    lines = []
    for section in report.sections:
        for r in section.results:
            parts = [f"{r.seconds:.1f} s", f"{r.asked} asked", f"{r.cached} from the cache"]
            if r.usage.completion_tokens:
                parts.append(f"{r.usage.prompt_tokens:,} tokens read, {r.usage.completion_tokens:,} written")
            if r.cost is not None:
                parts.append(f"cost {r.cost:.4f}")
            lines.append(f"{section.task} [{section.hash}] {r.system}: {', '.join(parts)}; run {r.id[:8]}")
    return lines
