"""Curves of a run as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

Curve = tuple[Sequence[float], Sequence[float]]  # x, y


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """name -> SVG: the loss (training and validation), the learning rate, the gradient's norm and the speed."""
    steps = [r for r in rows if r["kind"] == "step"]
    held = [r for r in rows if r["kind"] == "validation"]

    def of(part: Sequence[Mapping[str, Any]], key: str) -> Curve:
        chosen = [r for r in part if key in r]
        return [r["step"] for r in chosen], [r[key] for r in chosen]

    speed = [r["step"] for r in steps], [r["tokens"] / max(r["seconds"], 1e-9) for r in steps]
    return {
        "loss": draw("loss", {"training": of(steps, "loss"), "validation": of(held, "loss")}),
        "lr": draw("learning rate", {"": of(steps, "lr")}),
        "gradient": draw("gradient norm", {"": of(steps, "grad_norm")}),
        "speed": draw("tokens per second", {"": speed}),
    }


def draw(label: str, lines: Mapping[str, Curve]) -> str:
    """One small plot over steps."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "idiolect", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        for name, (x, y) in lines.items():
            if x:
                few = len(x) < 30
                axes.plot(x, y, label=name or None, linewidth=1.2, marker="o" if few else None, markersize=3)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        if any(name and x for name, (x, _) in lines.items()):
            axes.legend(frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
