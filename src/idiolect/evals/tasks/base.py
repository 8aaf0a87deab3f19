"""What the kinds of tasks share: documents, fields, examples before the question, identity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from idiolect.core import config as configuration
from idiolect.core.call import Message
from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.evals.tasks import reading
from idiolect.evals.tasks.config import TaskConfig
from idiolect.evals.tasks.templates import evaluate, render
from idiolect.evals.types import Columns, Grade, Item, Metric, Reply, task_hash

Record = dict[str, Any]


class Base(ABC):
    """A task made from a `TaskConfig`. `here` is the task file's folder, `base` the folder of all data."""

    revision: ClassVar[int] = 1  # of this kind's code: raise it when an equal file could give another result

    def __init__(self, config: TaskConfig, here: Path | None = None, base: Path | None = None) -> None:
        self.config, self.here, self.base = config, here, base
        self.name = config.task
        self.about = config.about

    metrics: tuple[Metric, ...] = ()

    # ---------------------------------------------------------------------------------------------- identity

    @cached_property
    def files(self) -> list[Path]:
        return reading.find(self.config.data, self.here, self.base)

    @cached_property
    def example_files(self) -> list[Path]:
        data = self.config.examples.data
        return [] if data is None or not self.config.examples.count else reading.find(data, self.here, self.base)

    def identity(self) -> dict[str, Any]:
        plain = configuration.to_dict(self.config)
        for word in ("about", "source", "show"):  # words for people change nothing
            plain.pop(word)
        return {
            "config": plain,
            "data": reading.content_hash(self.files),
            "examples": reading.content_hash(self.example_files) if self.example_files else "",
            "revision": self.revision,
        }

    @cached_property
    def hash(self) -> str:
        return task_hash(self.identity())

    # --------------------------------------------------------------------------------------------- documents

    @cached_property
    def documents_(self) -> list[Record]:
        rows = [self.fields(row) for row in reading.records(self.config.data, self.files)]
        return self._kept(rows)

    @cached_property
    def solved(self) -> list[Record]:
        """The documents that examples come from."""
        data = self.config.examples.data
        if data is None:
            return self.documents_
        return self._kept([self.fields(row) for row in reading.records(data, self.example_files)])

    def fields(self, row: Mapping[str, Any]) -> Record:
        made = dict(row)
        for name, source in self.config.let.items():
            made[name] = evaluate(source, made, f"{self.name}: let.{name}")
        return made

    def _kept(self, rows: list[Record]) -> list[Record]:
        keep = self.config.keep
        if keep is None:
            return rows
        return [row for row in rows if evaluate(keep, row, f"{self.name}: keep")]

    def id_of(self, row: Record) -> str:
        if self.config.id:
            return self.render("id", row)
        return f"{row['file']}/{row['index']}" if "file" in row else str(row["index"])

    def meta_of(self, row: Record) -> dict[str, Any]:
        meta = {name: row[name] for name in self.config.show if name in row}
        if self.config.group:
            meta["group"] = self.render("group", row)
        return meta

    def render(self, part: str, row: Mapping[str, Any]) -> str:
        return render(getattr(self.config, part), row, f"{self.name}: {part}")

    # ---------------------------------------------------------------------------------------------- prompting

    def examples(self, row: Record) -> list[Record]:
        """The solved examples for a document, never itself."""
        want = self.config.examples
        if not want.count:
            return []
        own = want.data is None
        pool = [other for other in self.solved if not (own and other is row)]
        if want.same is not None:
            field = want.same
            if field not in row:
                raise BadInput(f"{self.name}: there is no field {field!r}", hint=f"there are {', '.join(row)}")
            pool = [other for other in pool if other.get(field) == row[field]]
        if len(pool) < want.count:
            raise BadInput(
                f"{self.name}: {want.count} examples are wanted and {len(pool)} are there",
                hint="ask for fewer (--shots), or give another file in examples.data",
            )
        if want.pick == "first":
            return pool[: want.count]
        chosen = Streams(want.seed).numpy("examples", self.id_of(row)).permutation(len(pool))[: want.count]
        return [pool[i] for i in chosen]

    def asked(self, row: Record) -> str | tuple[Message, ...]:
        """The examples and the question, as one text or as a chat."""
        c = self.config
        intro = self.render("intro", row) if c.intro else ""
        examples = [(self.render("prompt", other), self.answer_of(other)) for other in self.examples(row)]
        question = self.render("prompt", row)
        if c.format == "plain":
            parts = [*([c.system] if c.system else []), *([intro] if intro else [])]
            parts += [prompt + answer for prompt, answer in examples]
            return c.examples.separator.join([*parts, question])
        turns = [Message("system", c.system)] if c.system else []
        lead = f"{intro}{c.examples.separator}" if intro else ""
        for i, (prompt, answer) in enumerate(examples):
            turns += [Message("user", (lead if i == 0 else "") + prompt), Message("assistant", answer.strip())]
        turns.append(Message("user", question if examples else lead + question))
        return tuple(turns)

    def answer_of(self, row: Record) -> str:
        """How a solved example goes on after its prompt."""
        if self.config.answer:
            return self.render("answer", row)
        return f" {evaluate(self.config.target, row, f'{self.name}: target')}"

    # ------------------------------------------------------------------------------------------ the protocol

    @abstractmethod
    def items(self, limit: int | None = None) -> Iterable[Item]:
        """What is asked, in order."""

    @abstractmethod
    def grade(self, item: Item, reply: Reply) -> Grade:
        """What a reply to it is worth."""

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        return {}


class PerDocument(Base):
    """A task that asks one thing of each document."""

    def items(self, limit: int | None = None) -> Iterable[Item]:
        for row in self.documents_[:limit]:
            yield self.item(row)

    @abstractmethod
    def item(self, row: Record) -> Item:
        """A document as something to ask."""


def wrong_reply(item: Item, reply: Reply) -> BadInput:
    kind = type(reply).__name__.lower()
    return BadInput(f"item {item.id} was answered with a {kind} reply", hint="the system cannot answer this kind")
