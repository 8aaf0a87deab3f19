"""Deltas over a frozen model: adapters that are trained, saved, merged and served."""

from idiolect.tune.config import TuneConfig
from idiolect.tune.files import load, read
from idiolect.tune.merging import MergeReport, compose, merge
from idiolect.tune.method import Adapter, Method, methods
from idiolect.tune.mounted import Mounted, attach, mount

__all__ = [
    "Adapter",
    "MergeReport",
    "Method",
    "Mounted",
    "TuneConfig",
    "attach",
    "compose",
    "load",
    "merge",
    "methods",
    "mount",
    "read",
]
