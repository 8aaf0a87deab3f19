"""The shapes in which examples are published, told apart by their keys, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.registry import Registry
from idiolect.data.examples import Example

Reader = Callable[[Mapping[str, Any]], Example]  # raises `BadInput` without a place; the data set adds it
FORMATS: Registry[Reader] = Registry("data format")

from idiolect.data.formats import chat, completion, labelled, preference, text  # noqa: E402, F401  (they register)

SHAPES = (
    "text, prompt+completion, instruction+output, messages, conversations, chosen+rejected, prompt+responses, "
    "text+label"
)


def detect(record: Any) -> str:
    """The name of a record's format. Raises `BadInput` that says which shapes are known."""
    if not isinstance(record, Mapping):
        raise BadInput(f"a record is {_kind(record)}, not an object", hint=f"the shapes known are {SHAPES}")
    keys = set(record)
    if {"chosen", "rejected"} & keys or "responses" in keys:
        return "preference"
    if {"messages", "conversations"} & keys:
        if isinstance(record.get("label"), bool) or "kto_tag" in keys:
            raise BadInput(
                "this is a chat marked good or bad (KTO), which no objective here reads",
                hint="keep the good ones as chats, or pair good and bad answers as chosen and rejected",
            )
        return "chat"
    if "label" in keys:
        return "labelled"
    if {"completion", "output", "response"} & keys or "instruction" in keys:
        return "completion"
    if "text" in keys:
        return "text"
    if "prompt" in keys:
        return "completion"  # whose error says what is missing
    raise BadInput(f"a record has the keys {', '.join(map(str, record)) or '(none)'}", hint=f"known are {SHAPES}")


def read(record: Any, format: str = "auto") -> Example:
    """A record as an example. Raises `BadInput` that says what is wrong with it."""
    name = detect(record) if format == "auto" else format
    if not isinstance(record, Mapping):
        raise BadInput(f"a record is {_kind(record)}, not an object", hint=f"the shapes known are {SHAPES}")
    return FORMATS.get(name)(record)


def _kind(value: Any) -> str:
    names = {str: "text", list: "a list", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(type(value), type(value).__name__)
