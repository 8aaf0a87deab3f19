"""One training loop for every way of changing a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.core import lazy

if TYPE_CHECKING:
    from idiolect.train.config import OptimiserConfig, ScheduleConfig, TrainConfig
    from idiolect.train.loop import Outcome, Trainer, evaluate, fit
    from idiolect.train.objective import Loss, Objective, Source
    from idiolect.train.recipe import ModelConfig, Recipe, load
    from idiolect.train.running import RunResult, run
    from idiolect.train.shelf import packaged

_WHERE = {
    "OptimiserConfig": "config",
    "ScheduleConfig": "config",
    "TrainConfig": "config",
    "Outcome": "loop",
    "Trainer": "loop",
    "evaluate": "loop",
    "fit": "loop",
    "Loss": "objective",
    "Objective": "objective",
    "Source": "objective",
    "packaged": "shelf",
    "ModelConfig": "recipe",
    "Recipe": "recipe",
    "load": "recipe",
    "RunResult": "running",
    "run": "running",
}
__all__ = [
    "Loss",
    "ModelConfig",
    "Objective",
    "OptimiserConfig",
    "Outcome",
    "Recipe",
    "RunResult",
    "ScheduleConfig",
    "Source",
    "TrainConfig",
    "Trainer",
    "evaluate",
    "fit",
    "load",
    "packaged",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: listing recipes must not cost an import of torch."""
    return lazy.attribute(__name__, _WHERE, name)
