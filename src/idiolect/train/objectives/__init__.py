"""Objectives by name: what a recipe's `objective` section can ask for.

An objective registers a builder `(model, options) -> Objective`, options being the section without its name. Packages
that stand above this one (`align`) register theirs when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from idiolect.core.registry import Registry
from idiolect.models.base import Model
from idiolect.train.objective import Objective

Builder = Callable[[Model, Mapping[str, Any]], Objective]
objectives: Registry[Builder] = Registry("objective")

from idiolect.train.objectives import lm as _lm  # noqa: E402, F401  (registers itself)

__all__ = ["Builder", "objectives"]
