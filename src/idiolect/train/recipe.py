"""A recipe: a whole run as one YAML file. It is a dataclass all through, so a misspelt key is an error with a hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.core import config, yamls
from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput, IdiolectError, NotFound
from idiolect.core.names import did_you_mean
from idiolect.data.assemble import DataConfig
from idiolect.train.blank import BlankConfig
from idiolect.train.config import TrainConfig
from idiolect.train.shelf import PACKAGED, packaged


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Where the run begins: the weights of `source` (as `models.load` takes it), or a `blank` model. `quantise` holds
    the base in a smaller format (nf4, int8, ...) under an adapter: QLoRA."""

    source: str | None = None
    blank: BlankConfig | None = None
    quantise: str | None = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.blank is None):
            raise BadInput("give either model.source or model.blank", hint="open weights, or a model from nothing")
        if self.quantise is not None and self.source is None:
            raise BadInput("a blank model cannot be quantised", hint="leave model.quantise out")


@dataclass(frozen=True, slots=True)
class Recipe:
    """`method` is handed to `tune.TuneConfig`, `objective` (its `name`, and options) to the objective's builder."""

    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    method: Mapping[str, Any] = field(default_factory=lambda: {"method": "full"})
    objective: Mapping[str, Any] = field(default_factory=lambda: {"name": "lm"})
    train: TrainConfig = field(default_factory=TrainConfig)
    out: str = "runs/run"
    summary: str = ""

    def fingerprint(self) -> str:
        """What must not change when a run is resumed: all but its length, its rates and what it reports."""
        kept = {name: config.to_dict(getattr(self, name)) for name in ("model", "data", "method", "objective")}
        fixed = {name: getattr(self.train, name) for name in ("seed", "precision")}
        return digest(canonical({**kept, "train": {**fixed, "optimiser": self.train.optimiser.name}}))


def load(where: str | Path, *, preset: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe: a YAML file, the name of a packaged one, or the folder of a run (its config.yaml).

    `preset` is merged over it (a recipe's `presets` maps names to parts of recipes), then `changes` ("a.b=value") are
    applied. Raises `NotFound`, and `BadInput` that names the key and its nearest right one.
    """
    path = find(where)
    try:
        data = yamls.parse(path.read_text("utf-8"), str(path)) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    if not isinstance(data, Mapping):
        raise BadInput(
            f"{path} is no mapping", hint="a recipe has the parts model, data, method, objective, train, out"
        )
    presets = data.get("presets") or {}
    data = {key: value for key, value in data.items() if key != "presets"}
    if preset is not None:
        if preset not in presets:
            raise BadInput(f"{path} has no preset {preset!r}", hint=did_you_mean(preset, presets))
        data = merged(data, presets[preset])
    try:
        return config.override(config.from_dict(Recipe, data), changes)
    except IdiolectError as error:
        if not error.message.startswith(str(path)):
            error.message = f"{path.name}: {error.message}"
        raise


def find(where: str | Path) -> Path:
    """The file of a recipe."""
    path = Path(where).expanduser()
    if path.is_dir():
        if (path / "config.yaml").exists():
            return path / "config.yaml"
        raise NotFound(f"{path} holds no config.yaml", hint="give a recipe's file, or the folder of a run")
    if path.exists():
        return path
    named = PACKAGED / f"{where}.yaml"
    if named.exists():
        return named
    raise NotFound(f"there is no recipe {where}", hint=did_you_mean(str(where), packaged()))


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced."""
    found = dict(under)
    for key, value in over.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found
