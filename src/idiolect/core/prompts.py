"""Every word that is sent to a model lives in a file: `prompts/**/*.md`, with YAML front matter and a Markdown body.

    ---
    description: what it is for
    inputs:            # every name that the body uses
      question: the user's words
    defaults:          # values used when the caller gives none
      tone: plain
    sampling: {temperature: 0}
    ---
    ## system
    Answer in a {{ tone }} tone.
    ## user
    {{ question }}

The body is a Jinja template, run in a sandbox. It is cut into messages at its `## system`, `## user` and
`## assistant` lines before any value is filled in, so a value that contains such a line cannot add a message.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from idiolect.core import yamls
from idiolect.core.call import Message, Role
from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.core.names import did_you_mean

ROOT = Path(__file__).parent.parent / "prompts"
_SECTION = re.compile(r"^##[ \t]+(system|user|assistant)[ \t]*$", re.MULTILINE)
_KEYS = {"description", "inputs", "defaults", "sampling", "output"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file. `inputs` maps each name to what it is, `defaults` gives values for some of them, `sampling` and
    `output` are the file's own advice (how to sample; the schema of the answer). `version` changes with any byte."""

    name: str
    inputs: Mapping[str, str]
    defaults: Mapping[str, Any]
    version: str
    sections: tuple[tuple[Role, str], ...]
    description: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None

    def messages(self, **inputs: Any) -> tuple[Message, ...]:
        """The messages with the values filled in. A missing or unknown input is `BadInput`."""
        values = self._values(inputs)
        return tuple(Message(role, _template(source).render(values).strip()) for role, source in self.sections)

    def text(self, **inputs: Any) -> str:
        """The sections' texts joined by blank lines: for base models, and for prompts with no section lines."""
        return "\n\n".join(message.content for message in self.messages(**inputs))

    def _values(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        for name in inputs:
            if name not in self.inputs:
                raise BadInput(f"prompt {self.name!r} has no input {name!r}", hint=did_you_mean(name, self.inputs))
        values = {**self.defaults, **inputs}
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise BadInput(
                f"prompt {self.name!r} needs {', '.join(missing)}", hint="give every input without a default"
            )
        return values


def load(name: str, root: Path = ROOT) -> Prompt:
    """The prompt `name` ("rag/answer" is the file rag/answer.md). `NotFound` names the nearest one."""
    return _load(name, root)


def names(root: Path = ROOT) -> list[str]:
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.md"))


@functools.cache
def _load(name: str, root: Path) -> Prompt:
    known = names(root)
    if name not in known:
        raise NotFound(f"there is no prompt {name!r}", hint=did_you_mean(name, known))
    return parse(name, (root / f"{name}.md").read_text("utf-8"))


def parse(name: str, source: str) -> Prompt:
    """A prompt from its file's text. `CorruptFile` when names and body disagree: a slip shows at once."""
    found = re.match(r"\A---\n(.*?)^---\n", source, re.DOTALL | re.MULTILINE)
    if found is None:
        raise CorruptFile(f"prompt {name!r} has no front matter", hint="begin the file with --- lines around YAML")
    head, body = yamls.parse(found[1], f"prompt {name!r}") or {}, source[found.end() :]
    if not isinstance(head, dict):
        raise CorruptFile(f"the front matter of prompt {name!r} is not a mapping")
    for key in head:
        if key not in _KEYS:
            raise CorruptFile(f"prompt {name!r}: unknown key {key!r}", hint=did_you_mean(str(key), _KEYS))
    inputs = head.get("inputs") or {}
    if isinstance(inputs, list):
        inputs = dict.fromkeys(inputs, "")
    defaults = head.get("defaults") or {}
    sections = _sections(name, body)
    used = set().union(*(_variables(name, text) for _, text in sections))
    for variable in sorted(used - set(inputs)):
        raise CorruptFile(f"prompt {name!r} uses {variable!r}", hint="declare it under inputs")
    for variable in sorted((set(inputs) - used) | (set(defaults) - set(inputs))):
        raise CorruptFile(f"prompt {name!r} declares {variable!r} but never uses it", hint="use it or remove it")
    return Prompt(
        name,
        {k: str(v or "") for k, v in inputs.items()},
        defaults,
        hashlib.sha256(source.encode()).hexdigest()[:12],
        sections,
        head.get("description", ""),
        head.get("sampling") or {},
        head.get("output"),
    )


def _sections(name: str, body: str) -> tuple[tuple[Role, str], ...]:
    parts = _SECTION.split(body)
    if len(parts) == 1:
        return (("user", body.strip()),)
    if parts[0].strip():
        raise CorruptFile(f"prompt {name!r} has text before its first section", hint="put it below a ## line")
    return tuple((cast(Role, role), text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True))


@functools.cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Prompts are plain text for a model: HTML escaping would change the words.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@functools.cache
def _template(source: str) -> Any:
    return _environment().from_string(source)


def _variables(name: str, source: str) -> set[str]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        return set(meta.find_undeclared_variables(_environment().parse(source)))
    except TemplateSyntaxError as error:
        raise CorruptFile(f"prompt {name!r}: {error.message}", hint="the body is a Jinja template") from error
