"""`idiolect tune`: teach a model some examples. A run of `train` with sensible values, from a few options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json
from idiolect.core.errors import BadInput

if TYPE_CHECKING:
    from idiolect.train import Recipe, RunResult

Many = Parameter(negative="", show_default=False)
METHODS = Literal["lora", "ia3", "prefix", "prompt", "bottleneck", "last", "full"]


def tune(
    model: str,
    data: Annotated[tuple[str, ...], Parameter(negative="")],
    /,
    *,
    method: METHODS = "lora",
    targets: Annotated[tuple[str, ...], Many] = (),
    rank: int | None = None,
    alpha: float | None = None,
    quantise: Literal["nf4", "int8"] | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    epochs: float | None = None,
    steps: int | None = None,
    lr: float | None = None,
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 8,
    context: int = 512,
    holdout: float = 0.1,
    seed: int = 0,
    option: Annotated[tuple[str, ...], Many] = (),
    set: Annotated[tuple[str, ...], Many] = (),
    resume: Flag = False,
    json: Json = False,
) -> int:
    """Teach a model your examples.

    Shows what the examples are, trains, and says how to serve the result. Everything about the run is in one folder
    (see `idiolect train`); report.html there has the curves. Ctrl-C keeps what was reached; --resume goes on.

    Parameters
    ----------
    model
        The model to begin with: embedded, a folder, a .gguf file, hf:ORG/NAME or pypi:PACKAGE==VERSION.
    data
        Files or folders of examples: chats, or prompts and completions (.jsonl, .json, .parquet, .csv).
    method
        lora (a small update of the matrices), ia3 (factors), prefix and prompt (virtual tokens), bottleneck (small
        networks between), last (the last blocks) or full (everything).
    targets
        Which matrices: q, k, v, o, gate, up, down, attention, mlp, all, or a name's end. Commas or several times.
    rank
        Width of the update (lora, bottleneck). More learns more, and needs more memory.
    alpha
        Scale of a LoRA: it counts alpha / rank times (default 16).
    quantise
        Hold the frozen model in four (nf4) or eight (int8) bits while training: QLoRA.
    out
        The folder of the run (default runs/METHOD).
    epochs
        How often every example is seen (default 2).
    steps
        How many steps, in place of epochs.
    lr
        Peak learning rate (default: the method's).
    batch
        Examples in a step.
    context
        Longest example in tokens; longer ones are left out and counted.
    holdout
        Part of the examples kept aside to measure on.
    seed
        Another seed, another order and other first values.
    option
        An option of the method, e.g. --option dropout=0.05. Can be repeated.
    set
        Change a key of the recipe, e.g. --set train.schedule.name=cosine. Can be repeated.
    """
    from idiolect import train
    from idiolect.commands.train import say, statistics, summary, tell

    wanted = {"targets": [t for many in targets for t in many.split(",") if t], "rank": rank, "alpha": alpha}
    recipe = compose(model, data, method, wanted, option, quantise)
    recipe = replace(
        recipe,
        data=replace(
            recipe.data, context=context, holdout=holdout, batching=replace(recipe.data.batching, examples=batch)
        ),
        out=str(out or Path("runs") / method),
    )
    changes = [f"train.seed={seed}"]
    if lr is not None:
        changes.append(f"train.optimiser.lr={lr!r}")
    if steps is not None and epochs is not None:
        raise BadInput("both --steps and --epochs are given", hint="give one of them")
    if steps is not None:
        changes += ["train.epochs=null", f"train.steps={steps}"]
    elif epochs is not None:
        changes.append(f"train.epochs={epochs!r}")
    recipe = _changed(recipe, [*changes, *set])
    if not json:
        show.table(statistics(recipe))
        show.say("")
    result = train.run(recipe, resume=resume, watch=None if json else say)
    if json:
        show.emit({**summary(result), "serve": serve(result, recipe)})
    elif result.outcome.stopped:
        tell(result)
    else:
        tell(result, serve(result, recipe))
    return 130 if result.outcome.stopped else 0


def compose(
    model: str,
    data: tuple[str, ...],
    method: str,
    wanted: dict[str, Any],
    options: tuple[str, ...] = (),
    quantise: str | None = None,
) -> Recipe:
    """The recipe of a run: the packaged one, with this model, data and method, and the method's learning rate."""
    from idiolect import models, train
    from idiolect.core import yamls
    from idiolect.tune import TuneConfig, methods

    if not data:
        raise BadInput("there are no examples", hint="idiolect tune MODEL FILE")
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value not in (None, [])}
    extra: dict[str, Any] = {}
    for one in options:
        name, sign, value = one.partition("=")
        if not sign:
            raise BadInput(f"{one!r} is no option", hint="write NAME=VALUE")
        extra[name] = yamls.parse(value, one)
    if extra:
        given["options"] = extra
    TuneConfig(method, tuple(given.get("targets", ())), given.get("rank"), given.get("alpha"), extra)  # checked now
    base = train.load("sft-full" if method == "full" else "sft-lora")
    source = models.EMBEDDED_LM if model == "embedded" else model
    optimiser = replace(base.train.optimiser, lr=methods.get(method).lr)
    return replace(
        base,
        model=replace(base.model, source=source, quantise=quantise),
        data=replace(base.data, train=data),
        method={"method": method, **given},
        train=replace(base.train, optimiser=optimiser),
    )


def _changed(recipe: Recipe, changes: list[str]) -> Recipe:
    from idiolect.core import config

    return config.override(recipe, changes)


def serve(result: RunResult, recipe: Recipe) -> str:
    """The command that serves what came of a run."""
    from idiolect import models

    if recipe.method["method"] == "full":
        return f"idiolect up --no-docs --model {result.export}"
    source = str(recipe.model.source)
    base = "" if source == models.EMBEDDED_LM else f" --model {source}"
    return f"idiolect up --no-docs{base} --adapter {result.path.name}={result.export}"
