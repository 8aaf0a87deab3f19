"""`idiolect train`: run a recipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json
from idiolect.core.errors import BadInput

if TYPE_CHECKING:
    from idiolect.train.recipe import Recipe
    from idiolect.train.running import RunResult
    from idiolect.train.watch import Record


def train(
    recipe: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    data: Annotated[tuple[str, ...], Parameter(name=["--data", "-d"], negative="", show_default=False)] = (),
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    preset: str | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    resume: Flag = False,
    json: Json = False,
) -> int:
    """Train a model by a recipe: from nothing, or from open weights.

    Everything about a run goes into one folder: the configuration, where it comes from, metrics.jsonl, checkpoints,
    plots, report.html, and at the end `model/` or `adapter/`. Ctrl-C writes a checkpoint; so does the run itself now
    and then, and --resume goes on from the last one as if nothing had happened. Under torchrun the model is sharded
    over the processes.

    Parameters
    ----------
    recipe
        A packaged recipe, a YAML file, or the folder of a run (to go on with it). Without one: the list.
    data
        Files, folders or globs to train on (data.train of the recipe). Can be repeated.
    out
        The folder of the run (out of the recipe).
    preset
        A smaller or larger variant that the recipe defines, such as tiny.
    set
        Change one key, e.g. --set train.optimiser.lr=3e-4. Can be repeated.
    resume
        Go on from the last checkpoint in the folder; start if there is none yet.
    """
    from idiolect.train.shelf import packaged

    if recipe is None:
        found = packaged()
        if json:
            show.emit(found)
        else:
            show.table(list(found.items()), head=("recipe", "what it does"))
            print("\nidiolect train RECIPE --data PATH runs one; --preset tiny tries it in a minute.")
        return 0
    return start(recipe, data=data, out=out, preset=preset, changes=set, resume=resume, json=json)


def start(
    recipe: str,
    *,
    data: tuple[str, ...] = (),
    out: Path | None = None,
    preset: str | None = None,
    changes: tuple[str, ...] = (),
    resume: bool = False,
    json: bool = False,
) -> int:
    """Load the recipe, run it and say what came of it; 130 when it was stopped."""
    from dataclasses import replace

    if importlib.util.find_spec("idiolect.align") is not None:
        importlib.import_module("idiolect.align")  # its objectives register themselves
    from idiolect import train as api
    from idiolect.train.parallel import launched

    loaded = api.load(recipe, preset=preset, changes=changes)
    if data:
        loaded = replace(loaded, data=replace(loaded.data, train=data, mix={}))
    if out is not None:
        loaded = replace(loaded, out=str(out))
    elif resume and Path(recipe).is_dir():
        loaded = replace(loaded, out=recipe)
    if not loaded.data.train and not loaded.data.mix:
        raise BadInput(f"{recipe} needs data", hint="give it with --data PATH")
    # Where the tokens are not kept for the run itself, they are not made twice.
    existing = loaded.model.source is not None and not loaded.data.block and loaded.data.cache
    if existing and loaded.data.train and not json and not launched():
        show.table(statistics(loaded))
        show.say("")
    result = api.run(loaded, resume=resume, watch=None if json else say)
    if json:
        show.emit(summary(result))
    else:
        tell(result)
    return 130 if result.outcome.stopped else 0


def statistics(recipe: Recipe) -> list[tuple[str, str]]:
    """What the examples are: read as the run will read them (and kept, so that it need not again)."""
    from idiolect.data import Codec, Dataset, describe, tokenise

    asked = recipe.data
    data = Dataset(asked.train, format=asked.format, separator=asked.separator, limit=asked.limit)
    codec = Codec.open(str(recipe.model.source), context=asked.context, too_long=asked.too_long, chat=asked.chat)
    return describe(tokenise(data, codec, on_error=asked.on_error, cache=asked.cache), data).rows()


def say(record: Record) -> None:
    """A line for each validation, which stays on the screen."""
    if record.kind == "validation":
        f = record.figures
        more = "".join(f", {name} {f[name]:.4f}" for name in ("accuracy", "bits_per_byte", "margin") if name in f)
        show.say(f"step {record.step:,}: validation loss {f['loss']:.4f}{more}")


def summary(result: RunResult) -> dict[str, Any]:
    progress = result.outcome.progress
    return {
        "out": result.path,
        "steps": progress.step,
        "tokens": progress.tokens,
        "best": progress.best,
        "best_step": progress.best_step,
        "stopped": result.outcome.stopped,
        "train": result.outcome.train,
        "validation": result.outcome.validation,
        "export": result.export,
        "report": result.report,
        **result.figures,
    }


def tell(result: RunResult, serve: str = "") -> None:
    """What a person wants to know at the end, and the next command (`serve`: the one that serves the result)."""
    outcome, progress = result.outcome, result.outcome.progress
    if outcome.stopped:
        print(f"Stopped after step {progress.step:,} of {outcome.total:,}; everything is kept.")
        print(f"Go on with: idiolect train {result.path} --resume")
        return
    rows = [
        ("steps", f"{progress.step:,}"),
        ("tokens", f"{progress.tokens:,}"),
        ("trained", f"{result.figures['trained']:,} of {result.figures['parameters']:,} parameters"),
        ("training loss", f"{outcome.train['loss']:.4f}" if outcome.train else "nothing was left to do"),
    ]
    if progress.best is not None:
        rows.append(("validation loss", f"{progress.best:.4f} after step {progress.best_step:,}"))
    rows += [(what, str(path)) for what, path in (("result", result.export), ("report", result.report)) if path]
    show.table(rows)
    if serve:
        print(f"\nTalk to it: {serve}")
    elif hasattr(result.objective, "head"):
        print(f'\nUse it from Python: idiolect.train.headed.load("{result.export}").scores([...])')
    elif result.mounted is not None and result.mounted.config.method != "full":
        print(f"\nTalk to it: idiolect up --no-docs --adapter {result.export}")
    elif result.export is not None:
        print(f"\nTalk to it: idiolect up --no-docs --model {result.export}")
