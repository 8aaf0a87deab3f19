"""A report as one page that needs nothing else, not even a network; and all forms of it in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from idiolect import __version__
from idiolect.core.files import atomic_write
from idiolect.evals.report.markdown import markdown
from idiolect.evals.report.notes import verdict
from idiolect.evals.report.plots import figures
from idiolect.evals.report.terminal import costs
from idiolect.evals.report.view import Report, items, number, plain
from idiolect.evals.stats import Estimate
from idiolect.evals.types import Metric

PAGE = Path(__file__).with_name("page.html")


def page(report: Report) -> str:
    """The HTML text. What models and data wrote is escaped."""
    import jinja2

    adjusted = dict(zip([id(c) for c in report.comparison.headlines], report.comparison.p)) if report.comparison else {}
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        PAGE.read_text("utf-8")
    )
    return template.render(
        report=report,
        title=" and ".join(report.systems) if len(report.systems) < 3 else f"{len(report.systems)} systems",
        version=__version__,
        stacked=_stacked,
        verdict=lambda c: verdict(c, adjusted.get(id(c))),
        p=lambda c: "" if adjusted.get(id(c)) is None else f"{adjusted[id(c)]:.3g}",
        plots=figures(report),
        items=items,
        costs=costs(report),
    )


def _stacked(estimate: Estimate | None, metric: Metric, *, sign: bool = False) -> Any:
    """A figure whose interval stands below it where there is room for that alone."""
    from markupsafe import Markup

    value, _, ends = number(estimate, metric, sign=sign).partition(" ")
    return Markup("{} <small>{}</small>").format(value, ends) if ends else value


def write(report: Report, folder: Path) -> Path:
    """`report.html`, `report.md` and `report.json` in `folder`; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.json": json.dumps(plain(report), indent=2, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
        "report.html": page(report),
    }
    for name, text in texts.items():
        with atomic_write(folder / name, "w") as file:
            file.write(text)
    return folder / "report.html"
