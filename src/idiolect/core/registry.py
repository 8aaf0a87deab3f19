"""Named parts: an implementation registers under a name, a configuration asks for it by that name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from idiolect.core.errors import NotFound
from idiolect.core.names import did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of parts of one kind (`kind` is the word that errors use: "attention back end", "chunker")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator. The same name twice is a programming error (`ValueError`), since one would hide the other."""

        def add(part: T) -> T:
            if name in self._parts:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._parts[name] = part
            return part

        return add

    def get(self, name: str) -> T:
        """The part, or `NotFound` that names the nearest one."""
        try:
            return self._parts[name]
        except KeyError:
            raise NotFound(f"there is no {self.kind} {name!r}", hint=did_you_mean(name, self._parts)) from None

    def names(self) -> list[str]:
        return sorted(self._parts)

    def describe(self, name: str) -> str:
        """The first line of the part's docstring; empty when it has none."""
        text = inspect.getdoc(self.get(name)) or ""
        return text.splitlines()[0] if text else ""

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._parts)
