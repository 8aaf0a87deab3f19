"""Systems whose answers are known, for the laws of runs and reports."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from idiolect.core.call import Usage
from idiolect.evals import tasks
from idiolect.evals.types import (
    Choose,
    Chosen,
    Failed,
    Found,
    Generate,
    Generated,
    Kind,
    Reply,
    Request,
    Roll,
    Rolled,
    Search,
    request_hash,
)


class Known:
    """Answers by a hash of the request and of its own seed; counts what it was asked."""

    kinds: frozenset[Kind] = frozenset({"choose", "roll", "generate", "search"})

    def __init__(self, name: str = "known", seed: int = 0, *, broken: int = 0) -> None:
        self.name, self.seed, self.broken = name, seed, broken
        self.fingerprint = f"known {seed}"
        self.asked: list[Request] = []

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for index in reversed(range(len(requests))):  # any order is allowed
            self.asked.append(requests[index])
            if self.broken:
                self.broken -= 1
                yield index, Failed("out of order")
            else:
                yield index, self.reply(requests[index])

    def reply(self, request: Request) -> Reply:
        seed = hashlib.sha256(f"{self.seed} {request_hash(request)}".encode()).digest()
        match request:
            case Choose():
                values = tuple(-1.0 - seed[i % 32] / 16 for i in range(len(request.options)))
                sizes = tuple(len(o.encode()) for o in request.options)
                return Chosen(values, tuple(len(o.split()) for o in request.options), sizes, (False,) * len(values))
            case Roll():
                n = len(request.text.split())
                return Rolled(-2.0 * n - seed[0] / 100, n, len(request.text.encode()), len(request.text))
            case Generate():
                said = request.prompt if request.prompt is not None else request.messages[-1].content
                return Generated(f"{said[-12:]} {seed[0]}", "stop", Usage(10, 3), seconds=0.5)
            case Search():
                return Found(tuple(str(b) for b in seed[: request.top]))


def choice_task(folder: Path, n: int = 24, **more: Any) -> Any:
    """A multiple-choice task of `n` questions in `folder`."""
    rows = [f'{{"q": "question {i}", "right": {i % 3}}}' for i in range(n)]
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")
    text = {
        "task": "made",
        "kind": "choose",
        "data": {"path": "rows.jsonl"},
        "prompt": "{{ q }}?",
        "options": [" yes", " no", " perhaps not"],
        "target": "right",
        **more,
    }
    from idiolect.core.config import from_dict
    from idiolect.evals.tasks.config import TaskConfig

    return tasks.from_config(from_dict(TaskConfig, text), folder)
