"""Plots of a report as SVG text, in the colours of the page around them."""

from __future__ import annotations

import io
import math
from typing import Any

from idiolect.evals.report.view import Report, Section, heat

INK = "#010203"  # replaced by the page's own colour, so that one picture is right in light and in dark
COLOURS = ("#3b6fd4", "#d4703b", "#3f9a63", "#9a5fb8", "#b8952f", "#4aa3b5")


def figures(report: Report) -> dict[str, str]:
    """name -> SVG: the headline of each task by system, the differences, and heat maps."""
    found = {f"scores {s.task}": _scores(s) for s in report.sections if s.lines}
    if report.comparison is not None and report.comparison.headlines:
        found["differences"] = _differences(report)
    for section in report.sections:
        for system, depths, lengths, cells in heat(section):
            found[f"heat {section.task} {system}"] = _heat(f"{section.task}: {system}", depths, lengths, cells)
    return found


def _scores(section: Section) -> str:
    line = section.lines[0]
    scale = 100.0 if line.metric.share else 1.0
    known = [(r.system, f) for r, f in zip(section.results, line.figures, strict=True) if f is not None]

    def draw(axes: Any) -> None:
        for place, (_, f) in enumerate(known):
            ends = [f.value - f.low, f.high - f.value] if math.isfinite(f.low) and math.isfinite(f.high) else [0.0, 0.0]
            axes.errorbar(
                f.value * scale,
                -place,
                xerr=[[max(0.0, ends[0]) * scale], [max(0.0, ends[1]) * scale]],
                fmt="o",
                capsize=3,
                color=COLOURS[place % len(COLOURS)],
            )
        axes.set_yticks([-i for i in range(len(known))], [name for name, _ in known])
        axes.set_ylim(-len(known) + 0.4, 0.6)
        axes.set_xlabel(f"{line.metric.name}{' (%)' if line.metric.share else ''}, 95 % interval")
        axes.set_title(section.task)

    return _svg(draw, (5.2, 1.2 + 0.35 * len(known)))


def _differences(report: Report) -> str:
    assert report.comparison is not None
    shown = report.comparison.headlines

    def draw(axes: Any) -> None:
        for place, one in enumerate(shown):
            scale = 100.0 if one.metric.share else 1.0
            e = one.estimate
            if not math.isfinite(e.low) or not math.isfinite(e.high):
                continue
            colour = {None: "#8a93a6", True: "#3f9a63", False: "#c8483c"}[one.better]
            ends = [[max(0.0, e.value - e.low) * scale], [max(0.0, e.high - e.value) * scale]]
            axes.errorbar(e.value * scale, -place, xerr=ends, fmt="o", capsize=3, color=colour)
        axes.axvline(0.0, color=INK, linewidth=0.8)
        axes.set_yticks([-i for i in range(len(shown))], [f"{c.task}: {c.system}" for c in shown])
        axes.set_ylim(-len(shown) + 0.4, 0.6)
        axes.set_xlabel("difference (points, or the metric's unit), 95 % interval")
        axes.set_title(f"minus {report.systems[0]}, same items")

    return _svg(draw, (6.4, 1.2 + 0.3 * len(shown)))


def _heat(title: str, depths: list[float], lengths: list[int], cells: list[list[float]]) -> str:
    def draw(axes: Any) -> None:
        axes.imshow(cells, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
        axes.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths])
        axes.set_yticks(range(len(depths)), [f"{d:.0%}" for d in depths])
        for y, row in enumerate(cells):
            for x, value in enumerate(row):
                if math.isfinite(value):
                    axes.text(x, y, f"{value:.0%}", ha="center", va="center", color="#111111")
        axes.set_xlabel("words")
        axes.set_ylabel("depth")
        axes.set_title(title)
        axes.grid(False)

    return _svg(draw, (5.2, 1.4 + 0.35 * len(depths)))


def _svg(draw: Any, size: tuple[float, float]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    ink: Any = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with matplotlib.rc_context({"svg.hashsalt": "idiolect", "font.size": 9, "svg.fonttype": "none", **ink}):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.subplots()
        axes.patch.set_alpha(0.0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
