"""Adapters that requests choose by name: added and removed while serving, several in one batch.

Virtual tokens (prefix and prompt tuning) become tokens of the sequence itself: ids behind the vocabulary, in front of
the prompt. Those of a soft prompt are computed like any other token, from the adapter's own table; those of a prefix
have their keys and values written into the cache when the sequence starts. So pages, chunks and the prefix cache need
to know nothing of them. A beginning in the cache is one adapter's: what another computed for the same tokens differs.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from idiolect.core.call import Cancel, Sampling, TokenInfo
from idiolect.core.errors import BadInput, NotFound
from idiolect.core.names import did_you_mean
from idiolect.models.base import CausalModel
from idiolect.nn import Choice, Delta
from idiolect.tune import Adapter, read
from idiolect.tune.prefix import Prefix

if TYPE_CHECKING:
    from idiolect.engine.engine import Engine, Ids
    from idiolect.engine.kv import Slots
    from idiolect.engine.sequence import Output, Result, Scored
    from idiolect.engine.sequence import Sequence as Running


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """An adapter as sequences hold it; it lives until the last of them ends. `key` is never used again, so that what an
    adapter of the same name computed earlier is not taken for this one's."""

    name: str
    key: str
    adapter: Adapter
    front: tuple[int, ...] = ()  # ids of its virtual tokens
    keys: tuple[Tensor, ...] = ()  # of a prefix, per layer [P, Hkv, Dh]
    values: tuple[Tensor, ...] = ()

    @property
    def deltas(self) -> Mapping[str, Delta]:
        return self.adapter.deltas

    def fill(self, seq: Running, cache: Slots) -> None:
        """Write what the prefix left to write of a sequence that starts."""
        begin, end = seq.computed, len(self.front)
        if self.keys and begin < end:
            slots = cache.slots(seq.lease, begin, end)
            cache.write(slots, [k[begin:end] for k in self.keys], [v[begin:end] for v in self.values])
            seq.computed = end


class Adapters:
    """The adapters of one engine, by name. Safe to read from any thread."""

    def __init__(self, model: CausalModel) -> None:
        self._model = model
        self._served: dict[str, Served] = {}
        self._numbers = itertools.count(1)

    def __contains__(self, name: object) -> bool:
        return name in self._served

    def names(self) -> list[str]:
        return list(self._served)

    def find(self, name: str) -> Served:
        """`NotFound` with the nearest name."""
        found = self._served.get(name)
        if found is None:
            raise NotFound(f"there is no adapter {name!r}", hint=did_you_mean(name, self._served), param="adapter")
        return found

    def add(self, name: str, source: str | Path | Adapter, any_base: bool = False) -> Served:
        """Read an adapter and give the layers that it changes a choice."""
        if not name or name in self._served:
            raise BadInput(f"there is an adapter {name!r} already", hint="remove it first, or give another name")
        adapter = source if isinstance(source, Adapter) else read(self._model, source, any_base=any_base)
        if adapter.own:
            raise BadInput("full finetuning makes a model, not an adapter", hint="save it and load it as a model")
        for path in adapter.deltas:
            slot: Any = self._model.get_submodule(path)
            if slot.delta is None:
                slot.delta = Choice(path)
            elif not isinstance(slot.delta, Choice):
                raise BadInput("the model has a mounted adapter", hint="detach it, and add it here")
            adapter.deltas[path].eval()
        keys: tuple[Tensor, ...] = ()
        values: tuple[Tensor, ...] = ()
        if isinstance(adapter.front, Prefix):
            keys, values = (tuple(t.detach() for t in side) for side in adapter.front.given())
        first = int(self._model.config.vocab)
        front = tuple(range(first, first + adapter.tokens))
        served = Served(name, f"{name}#{next(self._numbers)}", adapter, front, keys, values)
        self._served[name] = served
        return served

    def remove(self, name: str) -> Served:
        """Forget a name; sequences that use it go on to their end."""
        return self._served.pop(self.find(name).name)


class Using:
    """An engine through one adapter: the calls of `Engine` that answer, with `adapter` filled in."""

    def __init__(self, engine: Engine, adapter: str) -> None:
        self.engine, self.adapter = engine, adapter

    @property
    def config(self) -> Any:
        return self.engine.config

    @property
    def runner(self) -> str:
        return self.engine.runner

    @property
    def capacity(self) -> int:
        """Tokens that prompt and answer may have together; virtual tokens take some of the engine's."""
        return self.engine.capacity - self.engine.adapters.find(self.adapter).adapter.tokens

    def generate(self, prompts: list[Ids] | list[list[int]], sampling: Any = None) -> list[Result]:
        return self.engine.generate(prompts, sampling, adapter=self.adapter)

    def score(self, items: list[Scored], top: int = 0) -> list[list[TokenInfo]]:
        return self.engine.score(self._mine(items), top)

    def stream(
        self, ids: Ids, sampling: Sampling | None = None, cancel: Cancel | None = None, *, n_index: int = 0
    ) -> AsyncIterator[Output]:
        return self.engine.stream(ids, sampling, cancel, n_index=n_index, adapter=self.adapter)

    async def ascore(self, items: list[Scored], top: int = 0, cancel: Cancel | None = None) -> list[list[TokenInfo]]:
        return await self.engine.ascore(self._mine(items), top, cancel)

    def _mine(self, items: Sequence[Scored]) -> list[Scored]:
        return [replace(item, adapter=self.adapter) for item in items]
