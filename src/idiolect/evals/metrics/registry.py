"""What is known of each metric: its formula, its range, which way is better, and what it was checked against."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from idiolect.core.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Measure:
    """`low` and `high` bound its values. `better` is "high", "low", or "" where neither is. `checked` names the library
    or the closed form that its test compares it with."""

    name: str
    function: Callable[..., Any]
    formula: str
    low: float
    high: float
    better: str
    checked: str

    @property
    def about(self) -> str:
        """The first sentence of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def range(self) -> str:
        return f"{_end(self.low)} to {_end(self.high)}"


MEASURES: Registry[Measure] = Registry("metric")


def measure(
    name: str, *, formula: str, checked: str, low: float = 0.0, high: float = 1.0, better: str = "high"
) -> Callable[[F], F]:
    """Register a function as the metric `name`; the function itself stays as it is."""

    def add(function: F) -> F:
        MEASURES.register(name)(Measure(name, function, formula, low, high, better, checked))
        return function

    return add


def table() -> list[str]:
    """All metrics as the lines of a Markdown table, in the order of their names."""
    lines = ["| metric | formula | range | better | checked against |", "|---|---|---|---|---|"]
    for name in MEASURES:
        m = MEASURES.get(name)
        cells = (f"`{name}`", m.formula, m.range, m.better or "neither", m.checked)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _end(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:g}"
