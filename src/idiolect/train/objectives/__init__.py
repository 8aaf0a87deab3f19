"""Objectives by name: what a recipe's `objective` section can ask for.

An objective registers a builder `(model, options, data) -> Objective`: `options` is the section without its name,
`data` what was prepared (for the number of classes, the reference of a preference). It sees the model as training
begins. Packages that stand above this one (`align`) register theirs when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from idiolect.core.registry import Registry
from idiolect.data.assemble import Prepared
from idiolect.models.base import Model
from idiolect.train.objective import Objective

Builder = Callable[[Model, Mapping[str, Any], Prepared | None], Objective]
objectives: Registry[Builder] = Registry("objective")

from idiolect.train.objectives import classify, lm, regress  # noqa: E402, F401  (they register themselves)

__all__ = ["Builder", "objectives"]
