"""Which rows of which layer a pattern means.

Patterns are matched against the names that a layer has in Hugging Face's files and ours, since adapters of the outside
world use the former: `q_proj` is some rows of our fused `layers.3.attention.qkv`. A pattern is a name's end ("q_proj",
"layers.3.mlp.down_proj"), its short form ("q", "down"), a glob ("layers.[01].*"), `re:` and a regular expression that
fits the whole name, "attention" or "mlp" for all matrices of that half of a block, or "all": every matrix but the
output's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.models.base import Model
from idiolect.nn import Linear


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows [begin, end) of a layer's output, and what Hugging Face calls them."""

    hf: str  # "model.layers.0.self_attn.q_proj"
    begin: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Target:
    """A layer, by its path in our model, and the parts of it that are meant, in order."""

    path: str
    layer: Linear
    parts: tuple[Rows, ...]


def matrices(model: Model) -> list[Target]:
    """Every matrix of a model with all its parts."""
    found = []
    for rule in model.rules():
        path, _, kind = rule.name.rpartition(".")
        layer = model.get_submodule(path) if kind == "weight" else None
        if isinstance(layer, Linear):
            parts, at = [], 0
            for part in rule.parts:
                rows = part.rows or layer.outputs
                parts.append(Rows(part.hf.removesuffix(".weight"), at, at + rows))
                at += rows
            found.append(Target(path, layer, tuple(parts)))
    return found


def resolve(model: Model, patterns: Sequence[str], layers: Sequence[int] | None = None) -> list[Target]:
    """The parts that the patterns mean, of all layers or of some. `BadInput` for a pattern that means nothing."""
    everything = matrices(model)
    used: set[str] = set()
    found = []
    for target in everything:
        if layers is not None and layer_of(target.path) not in layers:
            continue
        parts = []
        for part in target.parts:
            hits = {p for p in patterns if _means(p, part.hf, target)}
            used |= hits
            if hits:
                parts.append(part)
        if parts:
            found.append(Target(target.path, target.layer, tuple(parts)))
    for pattern in patterns:
        if pattern not in used:
            ends = {part.hf.rpartition(".")[2] for target in everything for part in target.parts}
            where = "" if layers is None else f" in layers {', '.join(map(str, layers))}"
            raise BadInput(f"no layer{where} is called {pattern!r}", hint=did_you_mean(pattern, ends), param="targets")
    return found


def layer_of(path: str) -> int | None:
    """The number in "layers.3.mlp.down"; None outside the blocks."""
    found = re.search(r"(?:^|\.)layers\.(\d+)\.", path)
    return int(found[1]) if found else None


def _means(pattern: str, hf: str, target: Target) -> bool:
    if pattern in ("all", "all-linear"):
        return target.path != "head"
    if pattern.startswith("re:"):
        return means(pattern, hf)
    if any(c in pattern for c in "*?["):
        return fnmatchcase(hf, pattern) or fnmatchcase(hf, f"*.{pattern}")
    if pattern in ("attention", "mlp"):
        return pattern in target.path.split(".")
    names = [hf, hf.removesuffix("_proj"), target.path]
    if target.path.endswith("attention.out"):
        names.append("o")
    return any(name == pattern or name.endswith(f".{pattern}") for name in names)


def means(pattern: str, name: str) -> bool:
    """Whether peft would take a name for meant: by `re:` and an expression that fits all of it, or by its end."""
    if not pattern.startswith("re:"):
        return name == pattern or name.endswith(f".{pattern}")
    try:
        return re.fullmatch(pattern[3:], name) is not None
    except re.error as error:
        raise BadInput(f"{pattern!r} is no regular expression: {error}", param="targets") from None
