"""What `/metrics` shows, in Prometheus' text format: requests, latencies, tokens, layers, caches, the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from idiolect.core.call import Usage

if TYPE_CHECKING:
    from idiolect.gateway.app import App

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SMALL = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1)
_GAUGES = {
    *("pages_total", "pages_free", "pages_cached", "page_size", "kv_bytes", "running", "waiting"),
    *("max_batch", "quantised", "slo_ttft", "slo_itl"),
}


class Metrics:
    """One registry per server, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        args: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "idiolect_requests", "Answered HTTP requests to a model", ["endpoint", "model", "status"], **args
        )
        self.seconds = Histogram(
            "idiolect_request_seconds", "From request to last byte", ["endpoint"], buckets=SECONDS, **args
        )
        self.first = Histogram(
            "idiolect_first_token_seconds", "From request to first text", ["endpoint"], buckets=SECONDS, **args
        )
        self.tokens = Counter("idiolect_tokens", "Tokens by kind", ["model", "kind"], **args)
        self.layers = Histogram("idiolect_layer_seconds", "A layer's own time", ["layer"], buckets=SMALL, **args)
        self.inflight = Gauge("idiolect_requests_in_flight", "Requests being answered now", **args)

    def layer(self, name: str, seconds: float) -> None:
        self.layers.labels(name).observe(seconds)

    def usage(self, model: str, usage: Usage) -> None:
        for kind in ("prompt", "completion", "cached"):
            self.tokens.labels(model, kind).inc(getattr(usage, f"{kind}_tokens"))

    def watch(self, app: App) -> None:
        """Also show the state of an app's parts, read at the moment of the scrape."""
        self.registry.register(_Parts(app))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Parts:
    """Reads the engine, the cache, the limits, the recorder and the library of an app."""

    def __init__(self, app: App) -> None:
        self._app = app

    def describe(self) -> Iterable[Metric]:
        return []  # names depend on what is loaded: nothing to check at registration

    def collect(self) -> Iterable[Metric]:
        app = self._app
        yield GaugeMetricFamily("idiolect_ready", "1 when questions can be answered", value=float(app.is_ready))
        yield CounterMetricFamily(
            "idiolect_store_write_errors", "Rows that could not be written", value=app.recorder.errors
        )
        if app.cache is not None:
            yield CounterMetricFamily("idiolect_cache_hits", "Exact-cache hits", value=app.cache.hits)
            yield CounterMetricFamily("idiolect_cache_misses", "Exact-cache misses", value=app.cache.misses)
        if app.limits is not None:
            yield GaugeMetricFamily("idiolect_calls_running", "Calls inside the limits", value=app.limits.running)
            yield GaugeMetricFamily("idiolect_calls_queued", "Calls waiting for a place", value=app.limits.queued)
        if app.engine_stats is not None:
            yield from _engine(app.engine_stats)


def _engine(stats: Callable[[], Any]) -> Iterable[Metric]:
    now = stats()
    for field in fields(now):
        value, name = getattr(now, field.name), f"idiolect_engine_{field.name}"
        if isinstance(value, str):
            named = GaugeMetricFamily(f"{name}_info", "Always 1; the label says which", labels=["name"])
            named.add_metric([value], 1.0)
            yield named
        elif hasattr(value, "cumulative"):
            buckets = [("+Inf" if b == float("inf") else str(b), float(n)) for b, n in value.cumulative()]
            yield HistogramMetricFamily(name, f"Engine {field.name}", buckets=buckets, sum_value=value.sum)
        elif is_dataclass(value):
            continue
        elif field.name in _GAUGES:
            yield GaugeMetricFamily(name, f"Engine {field.name}", value=float(value))
        else:
            yield CounterMetricFamily(name, f"Engine {field.name}", value=float(value))
    for name, (words, value) in rates(now).items():
        yield GaugeMetricFamily(f"idiolect_engine_{name}", words, value=value)


def rates(now: Any) -> dict[str, tuple[str, float]]:
    """What follows from an engine's counters: name -> (in words, value). MBU and MFU only where this machine's ceilings
    were measured before (`idiolect doctor`): a scrape measures nothing."""
    machine: Any
    if now.runner.startswith("cuda"):
        from idiolect.cuda.ceiling import known
    else:
        from idiolect.native.ceiling import known  # type: ignore[assignment]
    machine = known()

    recent = now.recent
    found = {
        "prefix_hit_rate": ("Share of prompt tokens that were cached, since the start", now.prefix_hit_rate),
        "batch_occupancy": ("Sequences in a step / max_batch, recent steps", recent.sequences / max(1, now.max_batch)),
        "decode_tokens_per_second": ("Tokens generated per second of computing, recent steps", recent.tokens),
        "prefill_tokens_per_second": ("Prompt tokens per second of computing, recent steps", recent.prefilled),
        "pages_free_share": ("Free pages / pages", now.pages_free / max(1, now.pages_total)),
    }
    if machine is not None:
        arithmetic = machine.arithmetic(now.quantised)
        found |= {
            "mbu": ("Bytes read / this machine's measured bandwidth, recent steps", recent.bytes / machine.bandwidth),
            "mfu": ("Multiply-adds / this machine's measured rate, recent steps", recent.multiply_adds / arithmetic),
            "machine_bandwidth_bytes": ("Measured bytes per second", machine.bandwidth),
            "machine_multiply_adds": ("Measured multiply-adds per second", arithmetic),
        }
    return found
