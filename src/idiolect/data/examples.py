"""What a record says, whatever it was written as: text, prompt and completion, chat, preference, or labelled text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idiolect.core.call import Message


@dataclass(frozen=True, slots=True)
class Text:
    """A document, or a part of a very long one (`first`, `last`: whether it begins and ends there)."""

    text: str
    first: bool = True
    last: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt and what should follow it. `system` stands before both where a template has a place for it."""

    prompt: str
    completion: str
    system: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation that ends with the assistant. `tools` are JSON schemas in OpenAI's shape. The first `asked` turns
    are a prompt: nothing in them is learned."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt and two or more responses to it, the best first. A response is the turns that follow the prompt."""

    prompt: tuple[Message, ...]
    responses: tuple[tuple[Message, ...], ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its class (a name) or value (a number)."""

    text: str
    label: str | float


Example = Text | Completion | Chat | Preference | Labelled


def words(example: Example) -> str:
    """Everything that people wrote in an example, for statistics and for telling duplicates."""
    match example:
        case Text():
            return example.text
        case Completion():
            return "\n".join(filter(None, (example.system, example.prompt, example.completion)))
        case Chat():
            return _said(example.messages)
        case Preference():
            return "\n".join([_said(example.prompt), *map(_said, example.responses)])
        case Labelled():
            return example.text


def _said(messages: tuple[Message, ...]) -> str:
    return "\n".join("\n".join([m.content, *(f"{c.name} {c.arguments}" for c in m.tool_calls)]) for m in messages)
