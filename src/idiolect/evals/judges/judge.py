"""A judge: a handler that is asked with prompt files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idiolect.core import prompts
from idiolect.core.call import Call, Completion, Ctx, Handler, Message, Sampling, fold
from idiolect.core.canonical import canonical
from idiolect.core.progress import Sink, progress
from idiolect.evals.judges.read import Verdict, read


@dataclass(frozen=True, slots=True)
class Judge:
    """Any model or program that answers calls. `name` stands beside every number it gives; `at_once` questions are
    under way together. `sampling` overrides fields of the prompt file's own."""

    handler: Handler
    model: str
    name: str = ""
    at_once: int = 8
    sampling: Mapping[str, Any] = field(default_factory=dict)
    sink: Sink | None = None

    @property
    def known_as(self) -> str:
        return self.name or self.model

    async def verdicts(
        self, prompt: str, inputs: Sequence[Mapping[str, Any]], labels: Mapping[str, float]
    ) -> list[Verdict]:
        """Ask the prompt file `prompt` with each of `inputs`, and read which of the labels was said."""
        return [read(said, labels) for said in await self.ask(prompt, inputs)]

    async def ask(self, prompt: str, inputs: Sequence[Mapping[str, Any]]) -> list[Completion]:
        """The judge's completions, in the order of `inputs`. The same question is asked once."""
        file = prompts.load(prompt)
        how = Sampling(**{**file.sampling, **self.sampling})
        asked: dict[str, tuple[Message, ...]] = {}
        keys = []
        for values in inputs:
            messages = file.messages(**values)
            keys.append(canonical(messages))
            asked.setdefault(keys[-1], messages)

        async def one(messages: tuple[Message, ...]) -> Completion:
            return await fold(self.handler(Call(self.model, messages, sampling=how), Ctx()))

        found = await each(one, list(asked.values()), self.at_once, f"asking {self.known_as}", self.sink)
        by_key = dict(zip(asked, found, strict=True))
        return [by_key[key] for key in keys]


async def each(
    work: Callable[[Any], Awaitable[Completion]], items: Sequence[Any], at_once: int, title: str, sink: Sink | None
) -> list[Completion]:
    """Run `work` on all items, `at_once` at a time; the first failure stops the rest."""
    places = asyncio.Semaphore(max(1, at_once))
    with progress(title, len(items), "questions", sink) as bar:

        async def one(item: Any) -> Completion:
            async with places:
                done = await work(item)
            bar.advance()
            return done

        tasks = [asyncio.ensure_future(one(item)) for item in items]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
