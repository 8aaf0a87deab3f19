"""What the engine measures: per request, and summed for `/metrics`."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from idiolect.engine.load import Recent


@dataclass(slots=True)
class RequestMetrics:
    """Seconds of one request. `prefill` and `decode` are the wall time of the steps in which it took part, which it
    may have shared with others; `ttft` (time to first token) and `total` count from the submission."""

    queue: float = 0.0  # until the first step that worked on it
    ttft: float | None = None
    itl: list[float] = field(default_factory=list)  # between consecutive tokens
    prefill: float = 0.0
    decode: float = 0.0
    total: float = 0.0
    preemptions: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        """Decode speed as the reader of the stream sees it; None before the second token."""
        return len(self.itl) / sum(self.itl) if self.itl and sum(self.itl) > 0 else None


class Histogram:
    """Counts per bucket, as Prometheus wants them: `counts[i]` values are at most `bounds[i]` and above the bound
    before it; the last count is everything larger."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.count += 1

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound, number of values at most that large), the last bound infinite."""
        total, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows

    def copy(self) -> Histogram:
        other = Histogram(self.bounds)
        other.counts, other.sum, other.count = list(self.counts), self.sum, self.count
        return other


SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
RATES = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class EngineStats:
    """A snapshot. Counters only grow; gauges are the state after the last step. A page that holds a finished
    sequence's readable prefix counts as free, because any request may take it (`pages_cached` says how many)."""

    runner: str = ""
    # gauges
    pages_total: int = 0
    pages_free: int = 0
    pages_cached: int = 0
    page_size: int = 0
    kv_bytes: int = 0
    running: int = 0
    waiting: int = 0
    max_batch: int = 0
    quantised: bool = False  # most products are of bytes: which ceiling of the machine counts
    recent: Recent = field(default_factory=Recent)
    slo_ttft: float = 0.5  # seconds: what counts as good
    slo_itl: float = 0.05
    # counters
    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    rejected: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    tokens_generated: int = 0
    tokens_prefilled: int = 0
    tokens_cached: int = 0  # prompt tokens that were taken from an equal beginning instead of computed
    tokens_scored: int = 0
    preemptions: int = 0
    good: int = 0  # finished, with a first token within `slo_ttft` and a mean inter-token latency within `slo_itl`
    sequence_steps: int = 0  # sequences in every step, added up
    bytes_read: float = 0.0  # weights, keys and values that the steps had to read
    multiply_adds: float = 0.0  # that the steps had to do
    # distributions, in seconds
    queue_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    ttft_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    itl_seconds: Histogram = field(default_factory=lambda: Histogram(SHORT_SECONDS))
    total_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    user_tokens_per_second: Histogram = field(default_factory=lambda: Histogram(RATES))

    @property
    def prefix_hit_rate(self) -> float:
        """The share of prompt tokens that did not have to be computed."""
        prompt = self.tokens_cached + self.tokens_prefilled
        return self.tokens_cached / prompt if prompt else 0.0

    def copy(self) -> EngineStats:
        """The figures of this moment, distributions too."""
        shot = EngineStats(**{name: getattr(self, name) for name in EngineStats.__slots__})
        for name in ("queue_seconds", "ttft_seconds", "itl_seconds", "total_seconds", "user_tokens_per_second"):
            setattr(shot, name, getattr(self, name).copy())
        return shot

    def observe(self, metrics: RequestMetrics, good: bool = False) -> None:
        """Add a finished request's times. `good`: it ended by itself, so that it may count into the goodput."""
        rate = metrics.tokens_per_second
        if rate is not None:
            self.user_tokens_per_second.add(rate)
        if good and metrics.ttft is not None and metrics.ttft <= self.slo_ttft:
            self.good += not metrics.itl or sum(metrics.itl) <= self.slo_itl * len(metrics.itl)
        self.queue_seconds.add(metrics.queue)
        self.total_seconds.add(metrics.total)
        if metrics.ttft is not None:
            self.ttft_seconds.add(metrics.ttft)
        for gap in metrics.itl:
            self.itl_seconds.add(gap)
