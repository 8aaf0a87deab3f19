"""What a task file may say. Unknown keys are refused with the nearest right name; every value that is here is part of
the task's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from idiolect.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Data:
    """Where the documents come from. `path` is below the task file's folder, else below `--data`; a pattern
    (`test/*.csv`) reads several files, and each record then has its file's name as `file`. With `package` it is a path
    inside an installed Python package. `columns` names the columns of a table without names. `group` puts neighbouring
    records with the same value of that field into one document, whose `rows` they are. `order` "shuffled" (by `seed`)
    makes a limited run a sample of the whole. `split` cuts a text into documents where the pattern matches.

    A retrieval collection has no `path` of records but a folder, in Cranfield's or BEIR's format."""

    path: str = ""
    package: str | None = None
    format: Literal["auto", "jsonl", "json", "csv", "tsv", "text", "parquet", "cranfield", "beir"] = "auto"
    columns: tuple[str, ...] = ()
    group: str | None = None
    order: Literal["file", "shuffled"] = "file"
    seed: int = 0
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Solved examples before the question. `pick` "first" takes the first `count` of `data` (None: of the task's own
    documents, the asked one left out), "random" draws them for each question by `seed`. `same` is a field whose value
    must be the question's (the subject)."""

    count: int = 0
    data: Data | None = None
    pick: Literal["first", "random"] = "first"
    seed: int = 0
    same: str | None = None
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise BadInput(f"count is {self.count}", hint="give 0 or more examples", param="count")


@dataclass(frozen=True, slots=True)
class Needle:
    """A sentence hidden in `lengths` words of text, at each of `depths` (0: the beginning, 1: the end), `repeats`
    times. `needle` is its template, over `thing` (one of `things`) and `number`; the number is what is asked for."""

    lengths: tuple[int, ...] = (250, 500, 1000)
    depths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    repeats: int = 2
    needle: str = ""
    things: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """How long texts are read: `window` tokens at a time (None: the model's context), moved on by `stride`."""

    window: int | None = None
    stride: int | None = None
    bos: bool = False


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """A task file. Templates are jinja2, in a sandbox, over the fields of a document; `let` adds fields, each an
    expression. `options` is a list of templates, or an expression that gives a list of texts (`option` then says how
    one of them follows the prompt). `target` is an expression: the right option's number or text, or the right answer.
    """

    task: str
    kind: Literal["choose", "generate", "roll", "needle", "search"]
    about: str = ""
    source: str = ""  # where the data can be had, and its licence
    data: Data = field(default_factory=Data)
    let: Mapping[str, str] = field(default_factory=dict)
    keep: str | None = None  # an expression: which documents count
    format: Literal["plain", "chat"] = "plain"
    system: str = ""
    intro: str = ""  # stands before the examples; a template
    prompt: str = ""
    options: str | tuple[str, ...] = ()
    option: str = " {{ option }}"
    target: str = ""
    answer: str = ""  # how a solved example goes on after its prompt
    examples: Examples = field(default_factory=Examples)
    id: str = ""
    group: str = ""
    show: tuple[str, ...] = ()  # fields that a report shows beside an item
    sampling: Mapping[str, Any] = field(default_factory=dict)
    extract: str = "all"
    metrics: tuple[str, ...] = ()
    text: Text = field(default_factory=Text)
    needle: Needle = field(default_factory=Needle)
    top: int = 100
    version: int = 1

    def __post_init__(self) -> None:
        needed = {
            "choose": ("prompt", "options", "target"),
            "generate": ("prompt", "target"),
            "needle": ("prompt",),
        }
        for name in needed.get(self.kind, ()):
            if not getattr(self, name):
                raise BadInput(f"a {self.kind} task needs {name!r}", hint="see docs/evaluation.md", param=name)
        if self.kind == "needle" and not (self.needle.needle and self.needle.things):
            raise BadInput("a needle task needs needle.needle and needle.things", param="needle")
        if not self.data.path:
            raise BadInput("a task needs data.path", hint="name a file, a pattern or a folder", param="data.path")
