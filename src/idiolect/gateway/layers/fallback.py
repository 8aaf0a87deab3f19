"""Fallback: another model answers when the first cannot, visibly, and only before the caller has seen anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace

from idiolect.core.call import Call, Ctx, Event, Handler, Note
from idiolect.core.errors import IdiolectError, Overloaded, Unavailable
from idiolect.gateway.streams import closing, visible


class Fallback:
    """`others[model]` are the ids to try in turn when `model` is unavailable or overloaded; `find` gives an id's
    handler. A second `Started` names the model that really answers."""

    def __init__(self, others: Mapping[str, Sequence[str]], find: Callable[[str], Handler]) -> None:
        self.others = {model: tuple(ids) for model, ids in others.items()}
        self._find = find

    async def __call__(self, call: Call, ctx: Ctx, next: Handler) -> AsyncGenerator[Event, None]:
        tried: list[tuple[str, IdiolectError]] = []
        for model in (call.model, *self.others.get(call.model, ())):
            if tried:
                before, why = tried[-1]
                yield Note(
                    "fallback",
                    f"{before} cannot answer ({why.message}); {model} answers instead",
                    {"from": before, "to": model, "error": str(why), "code": why.code},
                )
            handler = next if model == call.model else self._find(model)
            shown = False
            try:
                async with closing(handler(replace(call, model=model), ctx)) as events:
                    async for event in events:
                        shown = shown or visible(event)
                        yield event
                return
            except (Unavailable, Overloaded) as error:
                if shown:
                    raise
                tried.append((model, error))
                ctx.check()
        raise tried[0][1]  # what the model that was asked for said
