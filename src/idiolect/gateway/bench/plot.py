"""A picture of a load: how the latencies are spread, and each request over time. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idiolect.core.errors import BadInput, Unavailable
from idiolect.gateway.bench.drive import Driven
from idiolect.gateway.bench.report import Report


def plot(driven: Driven, found: Report, path: Path) -> None:
    """Write a PNG, SVG or PDF, by the name's ending."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise Unavailable("plots need matplotlib", hint="pip install matplotlib") from None
    well = [a for a in driven.answers if not a.error]
    if not well:
        raise BadInput("there is nothing to plot: every request failed", hint="look at the errors")
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    gaps = sorted(1e3 * gap for a in well for gap in a.gaps)
    _spread(axes[0], sorted(1e3 * a.ttft for a in well if a.ttft is not None), 1e3 * found.slo.ttft, "TTFT (ms)")
    _spread(axes[1], gaps, 1e3 * found.slo.itl, "inter-token latency (ms)")
    for i, a in enumerate(well):
        first = a.ttft if a.ttft is not None else a.end
        axes[2].plot([a.at, a.at + first], [i, i], color="tab:orange", linewidth=1)
        axes[2].plot([a.at + first, a.at + a.end], [i, i], color="tab:blue", linewidth=1)
    axes[2].set(xlabel="seconds", ylabel="request", title="waiting for the first token, then reading")
    figure.suptitle(f"{found.model}: {found.throughput:.2f} requests/s, goodput {found.goodput:.2f}")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot write {path}: {error}", hint="give a .png, .svg or .pdf") from None
    finally:
        pyplot.close(figure)


def _spread(axis: Any, values: list[float], objective: float, name: str) -> None:
    axis.step(values, [(i + 1) / len(values) for i in range(len(values))], where="post")
    axis.axvline(objective, color="tab:red", linestyle=":", label="objective")
    axis.set(xlabel=name, ylabel="share of all", ylim=(0, 1))
    axis.legend(loc="lower right")
