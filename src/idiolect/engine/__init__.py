"""Sequences, pages, scheduler, runner, sampling: many requests through one model at the same time."""

from idiolect.engine.config import EngineConfig
from idiolect.engine.embed import Embedder
from idiolect.engine.engine import Engine
from idiolect.engine.metrics import EngineStats, Histogram, RequestMetrics
from idiolect.engine.sequence import Output, Result, Scored, Sequence

__all__ = [
    "Embedder",
    "Engine",
    "EngineConfig",
    "EngineStats",
    "Histogram",
    "Output",
    "RequestMetrics",
    "Result",
    "Scored",
    "Sequence",
]
