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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=None)
    table.add_column("task")
    table.add_column("metric")
    table.add_column("n", justify="right")
    for system in report.systems:
        table.add_column(system, justify="right", no_wrap=True)
    # A figure and its interval go below each other where they do not fit beside each other.
    joint = " " if 44 + sum(max(20, len(name) + 2) for name in report.systems) <= console.width else "\n"
    for section in report.sections:
        for place, line in enumerate(section.lines):
            name = section.task if place == 0 else ""
            count = str(section.items) if place == 0 else ""
            figures = [number(figure, line.metric).replace(" ", joint, 1) for figure in line.figures]
            arrow = "" if line.metric.higher_is_better else " ↓"
            table.add_row(name, line.metric.name + arrow, count, *figures)
    console.print(table)
    if report.comparison is not None:
        console.print(_differences(report, Table, box))
    for section in report.sections:
        for system, depths, lengths, cells in heat(section):
            console.print(_heat(section.task, system, depths, lengths, cells, Table, box))
    for cost in costs(report):
        console.print(cost, style="dim", markup=False)
    for repeat in report.repeats:
        console.print(f"repeated: {repeat}", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def _differences(report: Report, Table: Any, box: Any) -> Any:
    assert report.comparison is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"difference from {report.systems[0]}, on the same items")
    for name in ("task", "metric", "system", "difference", "wins/losses", "p (Holm)", ""):
        table.add_column(name, justify="right" if name in ("difference", "wins/losses", "p (Holm)") else "left")
    for one, p in zip(report.comparison.headlines, report.comparison.p, strict=True):
        marks = {"better": "green", "worse": "red"}
        word = verdict(one, p)
        style = marks.get(word, "")
        table.add_row(
            one.task,
            one.metric.name,
            one.system,
            number(one.estimate, one.metric, sign=True),
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
