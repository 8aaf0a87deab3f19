"""Latency, throughput and goodput.

A mean hides the few who wait long, so latencies are given as percentiles. TTFT is the time to the first token, ITL
(also TBT, TPOT) the seconds per token after it; all seconds. Goodput counts only what met the service-level objective
(Zhong et al., "DistServe", OSDI 2024, arXiv:2401.09670).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.plan import machine
from idiolect.evals.metrics.registry import measure

POINTS = (50.0, 90.0, 99.0)


class Timed(Protocol):
    """One answered request. `itl`: mean seconds per token after the first; None when there was only one."""

    @property
    def error(self) -> str: ...
    @property
    def ttft(self) -> float | None: ...
    @property
    def itl(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds (or tokens a second), of `n` values."""

    min: float
    p50: float
    p90: float
    p99: float
    max: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        if not values:
            return None
        p50, p90, p99 = (percentile(values, point) for point in POINTS)
        return cls(min(values), p50, p90, p99, max(values), len(values))


@dataclass(frozen=True, slots=True)
class Slo:
    """Service-level objective: seconds to the first token, and mean seconds between tokens."""

    ttft: float = 0.5
    itl: float = 0.05

    @classmethod
    def parse(cls, text: str) -> Slo:
        """`ttft=0.5,itl=0.05`, either may be left out."""
        values = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            try:
                values[name.strip()] = float(value)
            except ValueError:
                values[name.strip()] = -1.0
        if set(values) - {"ttft", "itl"} or any(not v > 0 for v in values.values()):
            raise BadInput(f"slo is {text!r}", hint="write ttft=0.5,itl=0.05 (seconds)", param="slo")
        return cls(**values)

    def met(self, answer: Timed) -> bool:
        if answer.error or answer.ttft is None or answer.ttft > self.ttft:
            return False
        return answer.itl is None or answer.itl <= self.itl


@measure(
    "latency_percentile",
    formula="the value that q % of the latencies do not exceed, interpolated",
    checked="numpy.percentile's closed form on 0, 1, ..., 100",
    high=math.inf,
    better="low",
)
def percentile(values: Sequence[float], q: float = 50.0) -> float:
    """A latency that q percent of the requests do not exceed."""
    return float(np.percentile(np.asarray(values, np.float64), q))


@measure(
    "latency",
    formula="TTFT + TPOT · n",
    checked="0.2 s + 0.05 s · 100 = 5.2 s",
    high=math.inf,
    better="low",
)
def latency(ttft: float, tpot: float, tokens: int) -> float:
    """Seconds until the last of `tokens` tokens, at `tpot` seconds each after the first token's `ttft`."""
    return machine.latency(ttft, tpot, tokens)


@measure("throughput", formula="answered / seconds", checked="closed form", high=math.inf)
def throughput(count: float, seconds: float) -> float:
    """Requests (or tokens) a second, of all users together."""
    return count / max(seconds, 1e-9)


@measure("goodput", formula="answered within the objective / seconds", checked="closed form", high=math.inf)
def goodput(answers: Sequence[Timed], seconds: float, slo: Slo) -> float:
    """Requests a second that ended without error within the objective: never more than the throughput."""
    return throughput(sum(slo.met(a) for a in answers), seconds)
