"""report.html: one page about a run that needs nothing else, not even a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idiolect import __version__
from idiolect.core import config
from idiolect.core.files import atomic_write
from idiolect.train.folder import Folder
from idiolect.train.plots import curves
from idiolect.train.recipe import Recipe

PAGE = Path(__file__).with_name("report.html")


def write(folder: Folder, recipe: Recipe, figures: Mapping[str, Any]) -> Path | None:
    """Draw the plots into `plots/` and write the page; None when nothing has happened yet."""
    import jinja2

    rows = folder.rows()
    if not rows:
        return None
    plots = curves(rows)
    (folder.path / "plots").mkdir(exist_ok=True)
    for name, svg in plots.items():
        with atomic_write(folder.path / "plots" / f"{name}.svg", "w") as file:
            file.write(svg)
    lineage = json.loads((folder.path / "lineage.json").read_text("utf-8"))
    page = jinja2.Environment(autoescape=True).from_string(PAGE.read_text("utf-8"))
    text = page.render(
        name=folder.path.name,
        summary=recipe.summary,
        version=__version__,
        facts=facts(rows, figures),
        validation=[r for r in rows if r["kind"] == "validation"][-12:],
        plots=plots,
        recipe=config.dump(recipe),
        lineage=json.dumps(lineage, indent=2),
    )
    path = folder.path / "report.html"
    with atomic_write(path, "w") as file:
        file.write(text)
    return path


def facts(rows: list[dict[str, Any]], figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures that a reader looks for first."""
    steps = [r for r in rows if r["kind"] == "step"]
    held = [r for r in rows if r["kind"] == "validation"]
    seconds, tokens = sum(r["seconds"] for r in steps), sum(r["tokens"] for r in steps)
    found = [
        ("parameters", f"{figures['parameters']:,}"),
        ("trained", f"{figures['trained']:,} ({100 * figures['trained'] / max(1, figures['parameters']):.2f} %)"),
        ("steps", f"{rows[-1]['step']:,}"),
    ]
    if steps:
        found += [
            ("tokens", f"{tokens:,.0f} in the steps that were logged, {tokens / max(seconds, 1e-9):,.0f} per second"),
            ("time in steps", f"{seconds:,.1f} s"),
            ("peak memory", f"{max(r['memory'] for r in steps) / 1e9:.2f} GB"),
            ("last training loss", f"{steps[-1]['loss']:.4f}"),
        ]
    if held:
        best = min(held, key=lambda r: float(r["loss"]))
        found.append(("best validation loss", f"{best['loss']:.4f} after step {best['step']:,}"))
        found += [(f"there: {key}", f"{best[key]:.4f}") for key in ("accuracy", "bits_per_byte", "ppl") if key in best]
    return found
