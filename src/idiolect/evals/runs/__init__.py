"""Runs: asking, caching, resuming, summing up and comparing."""

from idiolect.evals.runs.records import RunLine, rows, runs
from idiolect.evals.runs.run import Price, Result, arun, run
from idiolect.evals.runs.summary import (
    Comparison,
    Contrast,
    Repeat,
    Summary,
    compare,
    contrast,
    repeatability,
    summarise,
)

__all__ = [
    "Comparison",
    "Contrast",
    "Price",
    "Repeat",
    "Result",
    "RunLine",
    "Summary",
    "arun",
    "compare",
    "contrast",
    "repeatability",
    "rows",
    "run",
    "runs",
    "summarise",
]
