"""Adapters as folders: peft's layout, and in `lineage.json` which base they were made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from idiolect.core.bundle import LINEAGE, Bundle, Parent, writing
from idiolect.core.config import to_dict
from idiolect.core.errors import BadInput, CorruptFile, IdiolectError, NotFound
from idiolect.core.names import did_you_mean
from idiolect.models.base import Model
from idiolect.models.write import save as save_model
from idiolect.models.write import save_file, value_of, write_json
from idiolect.tune.config import TuneConfig
from idiolect.tune.method import Adapter, Method, methods
from idiolect.tune.mounted import Mounted, mount
from idiolect.tune.targets import matrices
from idiolect.tune.weights import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write(mounted: Mounted, directory: str | Path, *, replace: bool = False) -> Bundle:
    """See `Mounted.save`."""
    model, adapter = mounted.model, mounted.adapter
    if mounted.config.method == "full":
        return save_model(model, directory, replace=replace)
    source = getattr(model, "source", None)
    parents = [Parent(source.asked, next(iter(source.sha256.values()), ""))] if source is not None else []
    made = {"by": "tune.save", "config": to_dict(mounted.config), "base": mounted.base}
    tensors = {name: value.cpu().contiguous() for name, value in mounted.state_dict().items()}
    with writing(directory, made=made, parents=parents, replace=replace) as folder:
        write_json(folder / CONFIG, describe(model, adapter))
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    return Bundle.open(directory)


def describe(model: Model, adapter: Adapter) -> dict[str, Any]:
    """adapter_config.json."""
    kind = adapter.config.kind
    common: dict[str, Any] = {
        "peft_type": kind.peft_type,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.id,
        "inference_mode": True,
    }
    names = [name for delta in adapter.deltas.values() for name in delta.names]
    if names:
        common["target_modules"] = ends(names, [p.hf for t in matrices(model) for p in t.parts])
    return {**common, **kind.to_peft(model, adapter)}


def ends(meant: Iterable[str], everything: Iterable[str]) -> list[str]:
    """The shortest names that mean exactly these: a last word where all that end so are meant, else a whole name."""
    meant, everything = set(meant), list(everything)
    words = {name.rpartition(".")[2] for name in meant}
    whole = {word for word in words if all(n in meant for n in everything if n.rpartition(".")[2] == word)}
    return sorted(whole | {name for name in meant if name.rpartition(".")[2] not in whole})


def load(model: Model, directory: str | Path, *, any_base: bool = False) -> Mounted:
    """Read an adapter (ours or peft's) and mount it. See `read` for what can be wrong."""
    return mount(model, read(model, directory, any_base=any_base))


def read(model: Model, directory: str | Path, *, any_base: bool = False) -> Adapter:
    """An adapter for `model` from a folder, not mounted. `NotFound` when it is no adapter folder, `CorruptFile` when
    its files are damaged or incomplete, `BadInput` when it is of an unknown type, has options that are not there, or
    was made for another base (`any_base` lets differing hashes pass, never differing shapes)."""
    folder = Path(directory).expanduser()
    found = configuration(folder)
    kind = kind_of(found, folder)
    try:
        config = TuneConfig(kind.name, options=kind.from_peft(model, found))
        with torch.no_grad():
            adapter = kind.build(model, config, None)
    except IdiolectError as error:
        error.message = f"{folder}: {error.message}"
        raise
    tensors = _tensors(folder)
    _fill({kind.prefix + name: value for name, value in adapter.pieces().items()}, tensors, folder, model)
    if not any_base:
        _same_base(folder, model)
    return adapter


def configuration(folder: Path) -> dict[str, Any]:
    """The adapter_config.json of a folder."""
    path = folder / CONFIG
    if not path.is_file():
        if (folder / "config.json").is_file():
            raise BadInput(f"{folder} is a whole model, not an adapter", hint=f"load it as a model: --model {folder}")
        raise NotFound(f"{folder} is no adapter: it has no {CONFIG}", hint="give the folder that `tune --out` wrote")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise CorruptFile(f"cannot read {path}: {error}", hint="get the adapter again") from None
    if not isinstance(found, dict):
        raise CorruptFile(f"{path} is not a JSON object", hint="get the adapter again")
    return found


def kind_of(found: Mapping[str, Any], folder: Path) -> Method:
    """The method of an adapter_config.json."""
    known = {methods.get(name).peft_type: methods.get(name) for name in methods}
    name = str(found.get("peft_type"))
    if name not in known:
        raise BadInput(f"{folder}: adapters of type {name} are not supported", hint=did_you_mean(name, known))
    return known[name]


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        if (folder / "adapter_model.bin").is_file():
            raise BadInput(
                f"{folder} holds a pickle (adapter_model.bin), which could run code", hint="save as safetensors"
            )
        raise NotFound(f"{folder} has no {WEIGHTS}", hint="get the adapter again")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptFile(f"cannot read {path}: {error}", hint="get the adapter again") from None


def _fill(own: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path, model: Model) -> None:
    missing = [name for name in own if name not in found]
    if missing:
        raise CorruptFile(
            f"{folder}: {len(missing)} of {len(own)} tensors are missing, the first: {missing[0]}",
            hint="get the adapter again, or check its target_modules",
        )
    extra = [name for name in found if name not in own and not _is_the_base(name, found[name], model)]
    if extra:
        raise BadInput(
            f"{folder}: {len(extra)} tensors have no place in {model.id}, the first: {extra[0]}",
            hint="the adapter is for another base, or trains what is not supported",
        )
    for name, value in own.items():
        if found[name].shape != value.shape:
            raise BadInput(
                f"{folder} is for another base: {name} is {tuple(found[name].shape)}, {model.id} needs "
                f"{tuple(value.shape)}",
                hint="load the base that it was made for",
            )
    with torch.no_grad():
        for name, value in own.items():
            if not torch.isfinite(found[name]).all():
                raise CorruptFile(f"{folder}: {name} holds values that are no numbers", hint="train it again")
            value.copy_(found[name])


def _is_the_base(name: str, value: Tensor, model: Model) -> bool:
    """Whether a tensor is one of the base's own: peft copies an output matrix that has an adapter into the file."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
    ours = next((rule.name for rule in model.rules() if [p.hf for p in rule.parts] == [plain]), None)
    if ours is None:
        return False
    here = value_of(model, ours)
    return here.shape == value.shape and torch.equal(here.cpu().bfloat16(), value.bfloat16())


def _same_base(folder: Path, model: Model) -> None:
    """Compare the hash of the base that the adapter was made for. peft's own folders have none."""
    if not (folder / LINEAGE).is_file():
        return
    lineage = Bundle.open(folder).lineage
    made = lineage.made.get("base")
    if not isinstance(made, dict):
        return
    here = fingerprint(model)
    matrices_differ = made.get("matrices") and here["matrices"] and made["matrices"] != here["matrices"]
    if made.get("norms") != here["norms"] or matrices_differ:
        name = lineage.parents[0].source if lineage.parents else "another model"
        raise BadInput(
            f"{folder} was made for another base ({name}) than {model.id}: the hashes of their weights differ",
            hint="load that base, or say any_base if you know better",
        )
