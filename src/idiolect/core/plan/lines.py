"""A plan is sums that show their working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what it is, the arithmetic in words, the value, and its unit ("parameters", "bytes", "FLOP",
    "tokens", "s", or "" for a ratio)."""

    name: str
    how: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name}: {self.how} = {said(self.value, self.unit)}"


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together. `total` is the name of a last line that is their sum; None: they are no sum."""

    title: str
    lines: tuple[Line, ...]
    total: Line | None = None

    def to_dict(self) -> dict[str, Any]:
        every = [*self.lines, *([self.total] if self.total else [])]
        return {line.name: {"value": line.value, "unit": line.unit, "how": line.how} for line in every}


def summed(title: str, lines: Sequence[Line], name: str = "total") -> Section:
    """A section with its sum."""
    total = sum(line.value for line in lines)
    return Section(title, tuple(lines), Line(name, "the sum", total, lines[0].unit))


def said(value: float, unit: str) -> str:
    """A figure as people say it: powers of 1000."""
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return _scaled(value, ("B", "kB", "MB", "GB", "TB"))
    if unit == "FLOP" or unit.endswith("/s") or value >= 1e15:
        return f"{value:.3g} {unit}".rstrip()
    if value < 1000 and value != int(value):
        return f"{value:.4g} {unit}".rstrip()
    return f"{_scaled(value, ('', 'k', 'M', 'G', 'T')) if value >= 1e6 else format(value, ',.0f')} {unit}".rstrip()


def _scaled(value: float, units: Sequence[str]) -> str:
    at = 0
    while abs(value) >= 999.5 and at + 1 < len(units):
        value, at = value / 1000, at + 1
    return f"{value:.4g} {units[at]}".rstrip()


def _seconds(value: float) -> str:
    for size, name in ((86400 * 365, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
