"""Histograms of a data set's lengths (and labels), as a PNG or SVG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.files import atomic_write
from idiolect.data.tokens import Tokens


def plot(tokens: Tokens, path: Path | str, *, context: int = 0, title: str = "") -> Path:
    """Draw the lengths of items, the tokens learned, and the classes or values. `context` is marked where it is given.
    Raises `BadInput` for a suffix other than .png and .svg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise BadInput(f"a picture cannot be written as {path.name}", hint="end the name in .png or .svg")
    sums = np.concatenate([[0], np.cumsum(tokens.counted, dtype=np.int64)])
    learned = np.diff(sums[tokens.bounds])
    panels = 2 if tokens.labels is not None or learned.any() else 1
    figure = Figure(figsize=(5 * panels, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    sizes = np.diff(tokens.bounds)
    axes[0].hist(sizes, bins=min(50, max(1, len(np.unique(sizes)))), color="#4477aa")
    axes[0].set(xlabel="tokens in a segment", ylabel="segments", title=title or tokens.counts.format)
    axes[0].axvline(np.median(sizes), color="#222222", linestyle=":", label=f"median {np.median(sizes):.0f}")
    if context and sizes.max() > context / 4:
        axes[0].axvline(context, color="#cc3311", label=f"context {context}")
    axes[0].legend(frameon=False)
    if tokens.labels is not None and tokens.classes:
        found = np.bincount(tokens.labels.astype(int), minlength=len(tokens.classes))
        axes[1].bar(tokens.classes, found, color="#228833")
        axes[1].set(xlabel="class", ylabel="examples")
    elif tokens.labels is not None:
        axes[1].hist(tokens.labels, bins=40, color="#228833")
        axes[1].set(xlabel="value", ylabel="examples")
    elif panels == 2:
        axes[1].hist(learned, bins=min(50, max(1, len(np.unique(learned)))), color="#228833")
        axes[1].set(xlabel="tokens learned in a segment", ylabel="segments")
    with atomic_write(path) as out:
        figure.savefig(out, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    return path
