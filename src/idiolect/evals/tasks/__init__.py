"""Tasks: what is asked and how it is graded, from a YAML file of about ten lines, or a Python file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.core import config as configuration
from idiolect.core.errors import BadInput, NotFound
from idiolect.core.names import did_you_mean
from idiolect.core.registry import Registry

if TYPE_CHECKING:
    from idiolect.evals.types import Task

SUITE = Path(__file__).parent.parent / "suite"
HARNESS = "harness:"
Maker = Callable[..., "Task"]  # (base: the folder of all data, or None) -> Task
made: Registry[Maker] = Registry("task")
"""Tasks whose grading is code (HumanEval, IFEval): a module of `evals` registers its maker under the task's name."""

CODED: dict[str, str] = {
    "ifeval": "idiolect.evals.ifeval.task",
    "ifeval_plain": "idiolect.evals.ifeval.task",
    "humaneval": "idiolect.evals.sandbox.task",
    "mbpp": "idiolect.evals.sandbox.task",
}
"""Name -> module that registers it; imported when the name is asked for."""


def names() -> list[str]:
    """Every task that comes with the package."""
    return sorted({path.stem for path in SUITE.glob("*.yaml")} | set(CODED) | set(made))


def about(name: str) -> str:
    """One line about a task that is made in code: the first of its module's docstring."""
    module = importlib.import_module(CODED[name]) if name in CODED else None
    return (module.__doc__ or "").split("\n")[0] if module is not None else made.describe(name)


def load(name: str | Path, base: Path | None = None, changes: Sequence[str] = ()) -> Task:
    """A task by its name, from a .yaml or .py file, or from a task file of lm-evaluation-harness (`harness:FILE.yaml`).
    `base` is the folder that `data.path` is looked up in (the
    task's own folder comes first); `changes` are overrides such as `examples.count=5`.

    A Python file has a function `task(base)`. Raises `NotFound` with the nearest name, `BadInput` for what the file
    says wrong."""
    text = str(name)
    if text.startswith(HARNESS):
        from idiolect.evals.bridges.harness_task import harness_task

        return harness_task(text.removeprefix(HARNESS), base=base, changes=changes)
    if text in CODED or text in made:
        if changes:
            raise BadInput(f"{text} is made in code and takes no changes", hint="leave out --set, --shots and --format")
        if text not in made:
            importlib.import_module(CODED[text])
        return made.get(text)(base)
    path = Path(text).expanduser()
    if path.suffix == ".py":
        return _python(path, base)
    if path.suffix not in (".yaml", ".yml"):
        path = SUITE / f"{text}.yaml"
        if not path.is_file():
            raise NotFound(f"there is no task {text!r}", hint=did_you_mean(text, names()), param="tasks")
    return from_config(read(path, changes), path.parent, base)


def read(path: Path, changes: Sequence[str] = ()) -> Any:
    """The checked content of a task file."""
    from idiolect.evals.tasks.config import TaskConfig

    return configuration.override(configuration.load(TaskConfig, path), changes)


def from_config(config: Any, here: Path | None = None, base: Path | None = None) -> Task:
    """A task from a `TaskConfig`."""
    from idiolect.evals.tasks.choose import ChooseTask
    from idiolect.evals.tasks.needle import NeedleTask
    from idiolect.evals.tasks.rolling import RollTask
    from idiolect.evals.tasks.searching import SearchTask
    from idiolect.evals.tasks.written import GenerateTask

    kinds: dict[str, Any] = {
        "choose": ChooseTask,
        "generate": GenerateTask,
        "roll": RollTask,
        "needle": NeedleTask,
        "search": SearchTask,
    }
    task: Task = kinds[config.kind](replace(config), here, base)
    return task


def _python(path: Path, base: Path | None) -> Task:
    if not path.is_file():
        raise NotFound(f"there is no task file {path}")
    spec = importlib.util.spec_from_file_location(f"idiolect_task_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    maker = getattr(module, "task", None)
    if not callable(maker):
        raise BadInput(f"{path} has no function `task`", hint="def task(base): return ...")
    found: Task = maker(base)
    return found
