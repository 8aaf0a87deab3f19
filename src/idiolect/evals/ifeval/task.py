"""IFEval as a task: 541 prompts, each with one to three instructions that a program can check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from idiolect.core.call import Message, Sampling
from idiolect.core.errors import CorruptFile
from idiolect.evals import tasks
from idiolect.evals.ifeval.instruction import INSTRUCTIONS
from idiolect.evals.ifeval.verdict import verdict
from idiolect.evals.tasks import reading
from idiolect.evals.tasks.base import wrong_reply
from idiolect.evals.tasks.config import Data
from idiolect.evals.types import Columns, Generate, Generated, Grade, Item, Metric, Reply, task_hash

PATH = "ifeval/input_data.jsonl"


class IfevalTask:
    """`format` "chat" asks through the model's template, "plain" gives the prompt as it is. A prompt counts when all
    its instructions were followed; `instruction_*` is the share of instructions, over all prompts."""

    revision = 1
    metrics: tuple[Metric, ...] = (
        Metric("prompt_strict", about="prompts of which every instruction was followed"),
        Metric("prompt_loose", about="the same, wrapping lines and Markdown's stars forgiven"),
        Metric("instruction_strict", about="instructions that were followed"),
        Metric("instruction_loose", about="the same, wrapping forgiven"),
    )

    def __init__(
        self,
        base: Path | None = None,
        *,
        name: str = "ifeval",
        format: Literal["chat", "plain"] = "chat",
        max_tokens: int = 1280,
        path: str = PATH,
    ) -> None:
        self.name, self.format, self.base = name, format, base
        self.data = Data(path=path)
        self.sampling = Sampling(max_tokens=max_tokens, temperature=0.0)

    @cached_property
    def files(self) -> list[Path]:
        return reading.find(self.data, None, self.base)

    def identity(self) -> dict[str, Any]:
        return {
            "task": "ifeval",
            "data": reading.content_hash(self.files),
            "format": self.format,
            "max_tokens": self.sampling.max_tokens,
            "revision": self.revision,
        }

    @cached_property
    def hash(self) -> str:
        return task_hash(self.identity())

    def items(self, limit: int | None = None) -> Iterable[Item]:
        for row in reading.records(self.data, self.files)[:limit]:
            try:
                prompt, names, arguments = str(row["prompt"]), row["instruction_id_list"], row["kwargs"]
                id = str(row.get("key", row["index"]))
            except KeyError as error:
                raise CorruptFile(f"{self.files[0]} lacks {error} somewhere", hint="give IFEval's own file") from None
            for one in names:
                INSTRUCTIONS.get(one)  # an unknown one stops the run before anything is asked
            if self.format == "chat":
                request = Generate((Message("user", prompt),), sampling=self.sampling)
            else:
                request = Generate(prompt=prompt, sampling=self.sampling)
            given = [{k: v for k, v in one.items() if v is not None} for one in arguments]
            yield Item(id, request, {"instructions": list(names), "kwargs": given}, {"instructions": list(names)})

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Generated):
            raise wrong_reply(item, reply)
        found = verdict(reply.text, item.target["instructions"], item.target["kwargs"])
        return {
            "prompt_strict": float(found.all_strict),
            "prompt_loose": float(found.all_loose),
            "_strict": float(sum(found.strict)),
            "_loose": float(sum(found.loose)),
            "_instructions": float(len(found.strict)),
        }

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        count = float(columns["_instructions"].sum())
        return {f"instruction_{kind}": float(columns[f"_{kind}"].sum()) / count for kind in ("strict", "loose")}


tasks.made.register("ifeval")(IfevalTask)


@tasks.made.register("ifeval_plain")
def _plain(base: Path | None = None) -> IfevalTask:
    """IFEval for models without a chat template."""
    return IfevalTask(base, name="ifeval_plain", format="plain")
