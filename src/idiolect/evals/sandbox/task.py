"""HumanEval (Chen et al. 2021, arXiv:2107.03374) and MBPP (Austin et al. 2021, arXiv:2108.07732): programs by tests.

`pass_at_1` is the share of samples that pass; with several samples of a problem `pass_at_k` is the unbiased estimate.
A task refuses to be made where there is no sandbox: nothing that a model wrote ever runs outside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from idiolect.core import prompts
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, CorruptFile
from idiolect.evals import tasks
from idiolect.evals.metrics.pass_at_k import pass_at_k
from idiolect.evals.sandbox import code
from idiolect.evals.sandbox.jail import sandbox
from idiolect.evals.sandbox.outcome import Limits
from idiolect.evals.tasks import reading
from idiolect.evals.tasks.base import wrong_reply
from idiolect.evals.tasks.config import Data
from idiolect.evals.types import Columns, Generate, Generated, Grade, Item, Metric, Reply, task_hash

SETS = {"humaneval": "humaneval/HumanEval.jsonl.gz", "mbpp": "mbpp/mbpp.jsonl"}
STOPS = {
    "humaneval": ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```"),
    "mbpp": ("[DONE]", "[END]", "\nProblem:"),
}


class CodeTask:
    """`samples` programs for each problem; more than one need a temperature. `k` is the k of `pass_at_k`."""

    revision = 1

    def __init__(
        self,
        base: Path | None = None,
        *,
        kind: Literal["humaneval", "mbpp"] = "humaneval",
        format: Literal["plain", "chat"] = "plain",
        samples: int = 1,
        k: int = 1,
        temperature: float | None = None,
        max_tokens: int = 512,
        limits: Limits | None = None,
        path: str = "",
    ) -> None:
        if not 1 <= k <= samples:
            raise BadInput(f"pass@{k} of {samples} samples", hint="give 1 <= k <= samples", param="k")
        self.name: str = kind
        self.kind, self.format, self.base = kind, format, base
        self.samples, self.k = samples, k
        heat = temperature if temperature is not None else 0.8 if samples > 1 else 0.0
        if samples > 1 and heat == 0:
            raise BadInput("several samples at temperature 0 are all the same", hint="raise it", param="temperature")
        stop = STOPS[kind] if format == "plain" else ()
        self.sampling = Sampling(max_tokens=max_tokens, temperature=heat, stop=stop)
        self.limits = limits or Limits(seconds=10)
        self.data = Data(path=path or SETS[kind])
        self.metrics: tuple[Metric, ...] = (Metric("pass_at_1", about="programs that pass all tests"),)
        if k > 1:
            self.metrics += (Metric(f"pass_at_{k}", about=f"problems that at least one of {k} programs solves"),)
        self.jail = sandbox()

    @cached_property
    def files(self) -> list[Path]:
        return reading.find(self.data, None, self.base)

    def identity(self) -> dict[str, Any]:
        names = [name for name in (self.kind, f"{self.kind}_chat") if f"evals/{name}" in prompts.names()]
        return {
            "task": self.kind,
            "data": reading.content_hash(self.files),
            "format": self.format,
            "samples": self.samples,
            "k": self.k,
            "sampling": {"max_tokens": self.sampling.max_tokens, "temperature": self.sampling.temperature},
            "stop": list(self.sampling.stop),
            "limits": [self.limits.seconds, self.limits.memory, self.limits.output],
            "prompts": [prompts.load(f"evals/{name}").version for name in names],
            "revision": self.revision,
        }

    @cached_property
    def hash(self) -> str:
        return task_hash(self.identity())

    def items(self, limit: int | None = None) -> Iterable[Item]:
        for row in reading.records(self.data, self.files)[:limit]:
            try:
                id = str(row["task_id"])
                ask = self._ask(row)
            except KeyError as error:
                raise CorruptFile(f"{self.files[0]} lacks {error} somewhere", hint=f"give {self.kind}'s file") from None
            for sample in range(self.samples):
                request = Generate(**ask, sampling=_seeded(self.sampling, sample if self.samples > 1 else None))
                meta = {"group": id, "problem": row["index"], "sample": sample}
                yield Item(f"{id}#{sample}" if self.samples > 1 else id, request, dict(row), meta)

    def _ask(self, row: Mapping[str, Any]) -> dict[str, Any]:
        values = (
            {"problem": row["prompt"].rstrip()}
            if self.kind == "humaneval"
            else {
                "text": row["text"],
                "tests": "\n".join(row["test_list"]),
            }
        )
        if self.format == "chat":
            return {"messages": prompts.load(f"evals/{self.kind}_chat").messages(**values)}
        if self.kind == "humaneval":
            return {"prompt": row["prompt"]}
        return {"prompt": prompts.load("evals/mbpp").text(**values) + "\n"}

    def program(self, item: Item, text: str) -> str:
        """What is run for an answer."""
        make = code.humaneval if self.kind == "humaneval" else code.mbpp
        return make(item.target, text, self.format == "chat")

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Generated):
            raise wrong_reply(item, reply)
        outcome = self.jail.run(self.program(item, reply.text), self.limits)
        return {
            "pass_at_1": float(outcome.passed),
            "_problem": float(item.meta["problem"]),
            "_first": float(item.meta["sample"] == 0),
        }

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        """pass@k, a problem at a time. A bootstrap sample may hold a problem several times, then with as many first
        samples."""
        if self.k == 1:
            return {}
        total, weight = 0.0, 0.0
        for problem in np.unique(columns["_problem"]):
            own = columns["_problem"] == problem
            copies = max(1, round(float(columns["_first"][own].sum())))
            n, passed = round(float(own.sum()) / copies), round(float(columns["pass_at_1"][own].sum()) / copies)
            total += copies * pass_at_k(n, passed, min(self.k, n))
            weight += copies
        return {f"pass_at_{self.k}": total / weight}


def _seeded(sampling: Sampling, seed: int | None) -> Sampling:
    from dataclasses import replace

    return replace(sampling, seed=seed)


@tasks.made.register("humaneval")
def _humaneval(base: Path | None = None) -> CodeTask:
    """HumanEval: 164 functions to complete."""
    return CodeTask(base, kind="humaneval")


@tasks.made.register("mbpp")
def _mbpp(base: Path | None = None) -> CodeTask:
    """MBPP: small programs from a sentence and three assertions."""
    return CodeTask(base, kind="mbpp")
