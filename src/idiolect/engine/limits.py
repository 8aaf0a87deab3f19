"""What a request may ask for: tokens that exist, a prompt that fits, something to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, ContextOverflow
from idiolect.engine.adapters import Adapters, Served
from idiolect.engine.sequence import Scored


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one engine. `capacity` is the longest sequence that it can hold, `own` whether the model sets that."""

    vocabulary: int
    capacity: int
    own: bool
    adapters: Adapters

    def check(self, ids: Sequence[int], sampling: Sampling | None, adapter: str | None = None) -> Served | None:
        """`BadInput`, `ContextOverflow`, or the adapter that is asked for (`NotFound`). Its own tokens come before the
        prompt; without `sampling` no answer follows it."""
        served = self.adapters.find(adapter) if adapter is not None else None
        front = len(served.front) if served is not None else 0
        if not ids:
            raise BadInput("the prompt has no tokens", hint="give at least one", param="prompt")
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            raise BadInput(f"token ids must be 0 to {self.vocabulary - 1}", hint="use this model's tokenizer")
        extra = sampling is not None
        if front + len(ids) + extra > self.capacity:
            raise ContextOverflow(
                f"the prompt has {len(ids)} tokens, and the context holds {self.capacity - front}"
                + (" with the answer" if extra else ""),
                hint="shorten it" if self.own else "shorten it, or raise the engine's memory",
                param="messages",
            )
        for token in sampling.logit_bias if sampling is not None else ():
            if not 0 <= token < self.vocabulary:
                raise BadInput(
                    f"logit_bias has token {token}", hint=f"give 0 to {self.vocabulary - 1}", param="logit_bias"
                )
        return served

    def check_scored(self, item: Scored) -> Served | None:
        """`BadInput` too when nothing comes before the first scored token, or nothing is scored."""
        served = self.check(item.ids, None, item.adapter)
        if not 1 <= item.start < len(item.ids):
            raise BadInput(
                f"start is {item.start} of {len(item.ids)} ids",
                hint="something must come before the first scored token, and one token must be scored",
                param="start",
            )
        return served
