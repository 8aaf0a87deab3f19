"""Needle in a haystack: a sentence hidden at a depth of a text of some length, and asked for (Kamradt 2023,
github.com/gkamradt/LLMTest_NeedleInAHaystack). Lengths are words, so that the texts are the same for every tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from idiolect.core import config as configuration
from idiolect.core.call import Message, Sampling
from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.evals.tasks import reading
from idiolect.evals.tasks.base import Base, Record, wrong_reply
from idiolect.evals.tasks.templates import render
from idiolect.evals.types import Generate, Generated, Grade, Item, Metric, Reply


class NeedleTask(Base):
    """The haystack is the text of `data`; `prompt` is over `haystack`, `thing` and `number`."""

    metrics = (Metric("found", about="the hidden number stands in the answer"),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sampling = configuration.from_dict(
            Sampling, {"temperature": 0.0, "max_tokens": 24, **self.config.sampling}, "sampling"
        )

    def items(self, limit: int | None = None) -> Iterable[Item]:
        n = self.config.needle
        sentences = self._sentences(max(n.lengths))
        cells = [(length, depth, repeat) for repeat in range(n.repeats) for length in n.lengths for depth in n.depths]
        for length, depth, repeat in cells[:limit]:
            yield self._cell(sentences, length, depth, repeat)

    def _cell(self, sentences: list[str], length: int, depth: float, repeat: int) -> Item:
        n = self.config.needle
        rng = Streams(self.config.data.seed).numpy("needle", length, str(depth), repeat)
        row: Record = {
            "thing": n.things[int(rng.integers(len(n.things)))],
            "number": str(int(rng.integers(1000, 10_000))),
        }
        needle = render(n.needle, row, f"{self.name}: needle")
        part: list[str] = []
        words = 0
        for sentence in sentences:
            if words >= length:
                break
            part.append(sentence)
            words += len(sentence.split())
        part.insert(round(depth * len(part)), needle)
        row["haystack"] = " ".join(part)
        prompt = self.render("prompt", row)
        if self.config.format == "chat":
            head = (Message("system", self.config.system),) if self.config.system else ()
            request = Generate(messages=(*head, Message("user", prompt)), sampling=self.sampling)
        else:
            request = Generate(prompt=prompt, sampling=self.sampling)
        meta = {"length": length, "depth": depth, "needle": needle}
        return Item(f"{length}/{depth:g}/{repeat}", request, row["number"], meta)

    def _sentences(self, words: int) -> list[str]:
        text = " ".join(str(row.get("text", "")) for row in reading.records(self.config.data, self.files))
        found = [part.strip() for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]
        have = sum(len(part.split()) for part in found)
        if not have:
            raise BadInput(f"{self.name}: the haystack is empty", hint="give a text in data.path")
        return found * (words // have + 1)

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Generated):
            raise wrong_reply(item, reply)
        return {"found": float(str(item.target) in reply.text.replace(",", ""))}
