"""Multiple choice with its options in another order: a model that knows the answer does not care where it stands
(Pezeshkpour and Hruschka 2023, arXiv:2308.11483)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.core.rng import Streams


@dataclass(frozen=True, slots=True)
class Reordered:
    """`order[i]` is the old place of what now stands at place i; `target` the new place of the right option."""

    options: tuple[str, ...]
    target: int
    order: tuple[int, ...]


def reorder(options: Sequence[str], target: int, seed: int = 0) -> Reordered:
    """Put the options into a random order that is not the old one (a single option stays)."""
    rng = Streams(seed).numpy("options", *options)
    old = tuple(range(len(options)))
    order = old
    while order == old and len(options) > 1:
        order = tuple(rng.permutation(len(options)).tolist())
    return Reordered(tuple(options[i] for i in order), order.index(target), order)
