"""How a model is to be adapted: a method's name and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from idiolect.core.config import from_dict
from idiolect.tune import bottleneck, full, ia3, last, lora, prefix, prompt  # noqa: F401  (each registers its method)
from idiolect.tune.method import Method, methods

SHORT = ("targets", "rank", "alpha")  # options that have a place of their own here


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """`method` is a name in `tune.methods`. `targets`, `rank`, `alpha` and everything in `options` are options of that
    method (see the dataclass beside it); what is not given is the method's default. A wrong one is `BadInput` that
    names the nearest right one."""

    method: str = "lora"
    targets: tuple[str, ...] = ()
    rank: int | None = None
    alpha: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0  # of the first values

    def __post_init__(self) -> None:
        self.settings()

    @property
    def kind(self) -> Method:
        return methods.get(self.method)

    def settings(self) -> Any:
        """The method's own options, checked."""
        given = {name: getattr(self, name) for name in SHORT}
        given = {name: value for name, value in given.items() if value not in (None, ())}
        return from_dict(self.kind.options, {**self.options, **given}, self.method)
