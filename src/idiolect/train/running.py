"""From a recipe to a trained model: `run(recipe) -> RunResult`."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from idiolect import __version__, models
from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput
from idiolect.core.files import sha256_file
from idiolect.core.progress import Sink
from idiolect.data import assemble
from idiolect.data.codec import Codec
from idiolect.data.dataset import Dataset
from idiolect.data.examples import words
from idiolect.data.files import find
from idiolect.models.base import Model
from idiolect.nn import Embedding, Linear
from idiolect.train import checkpoint, live, parallel
from idiolect.train.blank import blank
from idiolect.train.distributed_store import ShardedStore
from idiolect.train.folder import Folder
from idiolect.train.head import Head
from idiolect.train.headed import HeadedModel, storable
from idiolect.train.loop import Outcome, Trainer
from idiolect.train.objective import Objective
from idiolect.train.objectives import objectives
from idiolect.train.ranks import Ranks
from idiolect.train.recipe import Recipe
from idiolect.train.vocabulary import learn
from idiolect.train.watch import Record, Watch

if TYPE_CHECKING:
    from idiolect.tune import Mounted


@dataclass(slots=True)
class RunResult:
    """What came of a run. `export` is the model's or adapter's folder (None: stopped before the end)."""

    path: Path
    outcome: Outcome
    model: Model
    objective: Objective
    data: assemble.Prepared
    mounted: Mounted | None = None
    export: Path | None = None
    report: Path | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def run(recipe: Recipe, *, resume: bool = False, sink: Sink | None = None, watch: Watch | None = None) -> RunResult:
    """Train what `recipe` says into the folder `recipe.out`.

    `resume` goes on from the folder's last checkpoint, or starts if there is none yet. `sink` gets the progress (None:
    a bar on a terminal), `watch` every record. Raises `BadInput` for what is wrong with the recipe or its data, before
    anything is computed.
    """
    ranks: Ranks = Ranks()
    if parallel.launched():
        ranks = parallel.Group(recipe.train)
    folder = Folder(Path(recipe.out))
    build = objectives.get(str(recipe.objective.get("name", "lm")))
    with ExitStack() as stack:
        if isinstance(ranks, parallel.Group):
            stack.callback(ranks.close)
        if ranks.main:
            stack.enter_context(folder.opened(recipe, resume))
        model = open_model(recipe)
        if not ranks.main:
            ranks.barrier()  # the first one fills the cache of tokens for all
        prepared = assemble.prepare(model, recipe.data, recipe.train.seed, sink)
        if ranks.main:
            ranks.barrier()
        mounted = attach(model, recipe)
        options = {key: value for key, value in recipe.objective.items() if key != "name"}
        objective = build(model, options, prepared)
        lineage = origin(recipe, model)
        figures: dict[str, Any] = {
            "parameters": count(model, objective),
            "trained": count(model, objective, learning=True),
        }
        notes = {"recipe": recipe.fingerprint(), "data": digest(canonical(lineage["data"]))}
        store = checkpoint.Store(folder.checkpoints, notes)
        if isinstance(ranks, parallel.Group):
            if isinstance(objective, nn.Module):
                raise BadInput("an objective with parameters trains in one process", hint="start it without torchrun")
            ranks.shard(model, recipe.train)
            store = ShardedStore(folder.checkpoints, notes | {"tensor": ranks.tensor}, ranks)
        watches: list[Watch] = [watch] if watch is not None else []
        if ranks.main:
            folder.describe(lineage)
            watches += [folder.add, *live.board(recipe, folder.path, stack)]
        trainer = Trainer(
            model,
            objective,
            prepared.train,
            recipe.train,
            validation=prepared.validation,
            store=store,
            ranks=ranks,
        )
        if resume and store.has("last"):
            trainer.restore()
        if ranks.main:
            folder.rewind(trainer.progress.step)
            watches.append(live.bar(trainer, stack, sink))
        trainer.watch = partial(tell, watches)
        outcome = trainer.fit()
        result = RunResult(folder.path, outcome, model, objective, prepared, mounted)
        result.figures = figures
        if not outcome.stopped:
            if recipe.train.export == "best" and store.has("best"):
                trainer.restore("best")
            if isinstance(ranks, parallel.Group):
                ranks.gather(model)
            if ranks.main:
                result.export = export(result, recipe)
            ranks.barrier()
        if ranks.main:
            from idiolect.train.report import write

            result.report = write(folder, recipe, result.figures)
    return result


def open_model(recipe: Recipe) -> Model:
    """The model that a recipe begins with, with plain float weights."""
    if recipe.model.blank is not None:
        described = recipe.model.blank
        tokenizer = learn(described.tokenizer, texts(recipe))
        model: Model = blank(described, tokenizer, recipe.train.seed, Path(recipe.out).name)
        return model.to(recipe.train.device)
    full = recipe.method.get("method", "lora") == "full"
    mixed = recipe.train.precision != "fp32" and not (full and recipe.train.precision == "mixed")
    dtype = torch.bfloat16 if mixed else torch.float32
    loaded: Model = models.load(str(recipe.model.source), dtype=dtype, device=recipe.train.device, packed=False)
    if recipe.model.quantise is not None:
        if full:
            raise BadInput("quantised weights cannot be trained themselves", hint="choose a method such as lora")
        from idiolect import weights

        weights.quantise_model(loaded, recipe.model.quantise)
    return loaded


def attach(model: Model, recipe: Recipe) -> Mounted | None:
    """Make trainable what the method trains. None: the whole model, in place."""
    if recipe.method.get("method", "lora") == "full" and len(recipe.method) == 1:
        model.requires_grad_(True)
        return None
    from idiolect import tune
    from idiolect.core import config

    return tune.attach(model, config.from_dict(tune.TuneConfig, recipe.method, "method"))


def export(result: RunResult, recipe: Recipe) -> Path:
    """Write the model, or the adapter alone, as others open it; beside it what the objective has of its own."""
    model, mounted = result.model, result.mounted
    full = mounted is None or mounted.config.method == "full"
    if model.template is None and result.data.tokens and result.data.tokens[0].counts.format in ("chat", "preference"):
        model.template = Codec.of(model).template  # served as it was trained
    head = getattr(result.objective, "head", None)
    if isinstance(head, Head) and mounted is not None and not full:
        from idiolect.tune import merge

        with suppress(BadInput):  # a prefix cannot be merged: it stays an adapter, beside its head
            merge(mounted)
    if isinstance(head, Head) and storable(model, head.config):
        HeadedModel(model, head).save(result.path / "model", replace=True)
        return result.path / "model"
    path = result.path / ("model" if full else "adapter")
    if full:
        models.save(model, path, replace=True)
    else:
        assert mounted is not None
        mounted.save(path, replace=True)
    keep = getattr(result.objective, "save", None)
    if keep is not None:
        keep(result.path / "head")
    return path


def texts(recipe: Recipe) -> Iterator[str]:
    """What people wrote in the training data, for a tokenizer to learn from."""
    paths = list(recipe.data.train) or list(recipe.data.mix)
    if not paths:
        raise BadInput("there is no data to train on", hint="give a path, or data.train in the recipe")
    data = Dataset(paths, format=recipe.data.format, separator=recipe.data.separator, limit=recipe.data.limit)
    for _, example in data.examples(recipe.data.on_error):
        yield words(example)


def origin(recipe: Recipe, model: Model) -> dict[str, Any]:
    """Where a run comes from: enough to tell whether another is the same."""
    source = getattr(model, "source", None)
    paths = [*recipe.data.train, *recipe.data.mix, *recipe.data.validation]
    return {
        "code": {"idiolect": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "started": time.time(),
        "seed": recipe.train.seed,
        "base": None if source is None else {"source": source.asked, "id": source.id, "sha256": dict(source.sha256)},
        "data": [{"file": f.name, "bytes": f.stat().st_size, "sha256": sha256_file(f)} for f in find(paths)],
        "tokenizer": getattr(model.tokenizer, "fingerprint", None),
    }


def count(*modules: Any, learning: bool = False) -> int:
    """Numbers in the parameters of modules, matrices that are held in another form included."""
    parts = [part for m in modules if isinstance(m, nn.Module) for part in m.modules()]
    own = {id(p): p for part in parts for p in part.parameters(recurse=False)}
    held = [] if learning else [part.stored for part in parts if isinstance(part, Linear | Embedding)]
    plain = sum(p.numel() for p in own.values() if p.requires_grad or not learning)
    return plain + sum(prod(matrix.shape) for matrix in held if matrix)


def tell(watches: list[Watch], record: Record) -> None:
    for watch in watches:
        watch(record)
