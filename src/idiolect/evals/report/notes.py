"""What a reader should know of the figures: who could not answer, how small a difference the items can show, and what
a difference that is not clear would need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from idiolect.evals.runs import Comparison, Contrast
from idiolect.evals.runs.summary import groups
from idiolect.evals.stats import resolves
from idiolect.evals.stats.paired import ALPHA
from idiolect.evals.stats.swap import LEAST

if TYPE_CHECKING:
    from idiolect.evals.report.view import Made, Section

SMALL = 20  # a bootstrap of fewer items covers less than it says
SIMILAR = 0.5  # correlation of two systems' items, where it is not measured
UNSURE = "better? and worse?: clear by itself, and not after the correction for so many comparisons"


def verdict(contrast: Contrast, adjusted: float | None = None) -> str:
    """In words, the metric's direction minded. `adjusted` is Holm's p-value, where the difference is one of several."""
    if contrast.few:
        return "too few"
    word = {None: "not clear", True: "better", False: "worse"}[contrast.better]
    return f"{word}?" if contrast.better is not None and adjusted is not None and adjusted >= ALPHA else word


def about_systems(made: Sequence[Made]) -> list[str]:
    """What the systems themselves have to be read with: fingerprints that prove little, and different ways of
    computing, which are a part of every difference."""
    found = [
        f"{m.system}: {m.weak}; kept answers may be another model's (--fresh asks again, version=TEXT names what runs)"
        for m in made
        if m.weak
    ]
    first = made[0]
    for m in made[1:]:
        for word, ours, theirs in (("scored", m.scored, first.scored), ("written", m.wrote, first.wrote)):
            if ours and theirs and ours != theirs:
                found.append(
                    f"{m.system} is {word} by {' and '.join(ours)}, {first.system} by {' and '.join(theirs)}: their "
                    "differences are of the computing, too"
                    + ("; runner=torch writes with the floats that score" if word == "written" else "")
                )
    return found


def notes(comparison: Comparison | None, sections: Sequence[Section]) -> list[str]:
    found = []
    for section in sections:
        for system, count in section.failed.items():
            found.append(
                f"{section.task}: {system} could not answer {count} of {section.items} items; they have no score"
            )
    found += [line for section in sections for line in _size(section)]
    if comparison is None:
        return found
    if comparison.adjusted.warning:
        found.append(comparison.adjusted.warning)
    if any(verdict(c, p).endswith("?") for c, p in zip(comparison.headlines, comparison.p, strict=True)):
        found.append(UNSURE)
    return found + _wanting(comparison.headlines)


def _size(section: Section) -> list[str]:
    """What the number of items allows."""
    if not section.lines:
        return []
    line, rows = section.lines[0], section.results[0].rows
    known = [f for f in line.figures if f is not None]
    together = groups(rows)
    units, word = (len(rows), "items") if together is None else (len(set(together)), "groups of items")
    if line.metric.share:
        seen = [c.correlation for c in section.contrasts if c.metric == line.metric and np.isfinite(c.correlation)]
        shared = float(np.median(seen)) if seen else SIMILAR
        gap = 100 * resolves(units, min(max(known[0].value, 0.0), 1.0), correlation=shared)
        how = f"same items, correlation {shared:.2f}{'' if seen else ' assumed'}, power 80%"
        return [f"{section.task}: n = {units} {word} resolves differences of about {gap:.1f} points ({how})"]
    if units < SMALL and any(f.bounded for f in known):
        return [f"{section.task}: {units} {word} are few for a bootstrap: its intervals are too narrow"]
    return []


def _wanting(headlines: Sequence[Contrast]) -> list[str]:
    """Which differences have no verdict, and how many items might give them one; those with too few in one line a
    task."""
    found: dict[str, list[str]] = {}
    unclear = []
    for one in headlines:
        if one.few:
            found.setdefault(f"{one.task}: a verdict needs {LEAST} items that differ from {one.baseline}", []).append(
                f"{one.system} {one.differ} of {one.estimate.n}{_needed(one)}"
            )
        elif one.advice is not None:
            unclear.append(f"{one.task}, {one.system} - {one.baseline}: not clear; {one.advice}")
    return [f"{what}; so far {', '.join(systems)}" for what, systems in found.items()] + unclear


def _needed(one: Contrast) -> str:
    """At this rate of differences: so many items until a test is possible, or until a gap like this is likely seen."""
    if not one.differ:
        return ""
    items = math.ceil(LEAST * one.estimate.n / one.differ)
    return f" (about {max(items, one.advice.items if one.advice is not None else 0):,} items)"
