"""A task whose prompts are perturbed: the same items and grading, other words. Compare it with the task itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from idiolect.core.call import Message
from idiolect.evals.robustness.perturb import PERTURBATIONS, perturb
from idiolect.evals.types import (
    Choose,
    Columns,
    Context,
    Generate,
    Grade,
    Item,
    Metric,
    Reply,
    Request,
    Roll,
    Search,
    Task,
    task_hash,
)


class Perturbed:
    """`Perturbed(task, "typos")` is a task. The last message of a chat, or the last paragraph of a plain prompt, is
    changed; few-shot examples, options and the cue at the end of a prompt stay as they are."""

    def __init__(self, task: Task, how: str, seed: int = 0) -> None:
        PERTURBATIONS.get(how)
        self.task, self.how, self.seed = task, how, seed
        self.name = f"{task.name}+{how}"
        self.metrics: tuple[Metric, ...] = task.metrics

    def identity(self) -> dict[str, Any]:
        return {"perturbed": self.task.identity(), "how": self.how, "seed": self.seed, "version": 1}

    @property
    def hash(self) -> str:
        return task_hash(self.identity())

    def items(self, limit: int | None = None) -> Iterable[Item]:
        for item in self.task.items(limit):
            yield dataclasses.replace(item, request=self.request(item.request))

    def grade(self, item: Item, reply: Reply) -> Grade:
        return self.task.grade(item, reply)

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        return self.task.aggregate(columns)

    def request(self, request: Request) -> Request:
        """The request with its question perturbed; a text that is scored or searched whole is perturbed whole."""
        match request:
            case Choose():
                return dataclasses.replace(request, context=self._context(request.context))
            case Generate(prompt=str(text)):
                return dataclasses.replace(request, prompt=self._plain(text))
            case Generate():
                return dataclasses.replace(request, messages=self._chat(request.messages))
            case Roll():
                return dataclasses.replace(request, text=perturb(self.how, request.text, self.seed))
            case Search():
                return dataclasses.replace(request, query=perturb(self.how, request.query, self.seed))

    def _context(self, context: Context) -> Context:
        return self._plain(context) if isinstance(context, str) else self._chat(context)

    def _chat(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        *before, last = messages
        return (*before, dataclasses.replace(last, content=perturb(self.how, last.content, self.seed)))

    def _plain(self, text: str) -> str:
        """The first line of the last paragraph is the question; what follows it is a list of options or a cue."""
        head, gap, last = text.rpartition("\n\n")
        question, line, cue = last.partition("\n")
        return head + gap + perturb(self.how, question, self.seed) + line + cue
