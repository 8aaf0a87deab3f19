"""One spelling for each value, so that equal things have equal hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from idiolect.core.call import Message, ToolCall
from idiolect.core.errors import BadInput

ROOT = ""  # the parent of a chain's first message


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces. Dataclasses become mappings, tuples lists, paths and enums their text.

    Text with lone surrogates, which UTF-8 cannot hold, is escaped; infinities and NaN are spelled as Python's json
    does. Anything else that JSON cannot hold is `BadInput`.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"this value cannot be stored: {error}", hint="use text, numbers, lists and mappings") from error
    return text


def plain(value: Any) -> Any:
    """What `json` cannot spell by itself, as plain data; `TypeError` when there is no way."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "tolist"):  # NumPy and torch scalars and arrays
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not plain data")


def digest(*parts: str) -> str:
    """Hex SHA-256 of the parts, each with its length in front, so that no two lists of parts collide."""
    hasher = hashlib.sha256()
    for part in parts:
        body = part.encode()
        hasher.update(b"%d:" % len(body))
        hasher.update(body)
    return hasher.hexdigest()


def message_json(message: Message) -> str:
    """The canonical JSON of a message; what is unset is left out, so that a new field keeps old hashes."""
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        data["name"] = message.name
    if message.tool_calls:
        data["tool_calls"] = list(message.tool_calls)
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    return canonical(data)


def message_from_json(text: str) -> Message:
    data = json.loads(text)
    data["tool_calls"] = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
    return Message(**data)


def node_hash(parent: str, message: str) -> str:
    """The name of a message in its place: everything that was said before it is part of its name."""
    return digest("node", parent, message)


def event_hash(previous: str, seq: int, time: float, kind: str, trace: str, chain: str, payload: str) -> str:
    """Covers the whole row and the hash of the row before it."""
    return digest("event", previous, str(seq), time.hex(), kind, trace, chain, payload)
