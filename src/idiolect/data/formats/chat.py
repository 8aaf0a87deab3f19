"""Chats: OpenAI's {"messages": [{"role", "content"}]} and ShareGPT's {"conversations": [{"from", "value"}]}."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from idiolect.core.call import Message, Role, ToolCall
from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.data.examples import Chat
from idiolect.data.formats import FORMATS

ROLES = {  # how the roles are called in the wild
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
CALLS = ("function_call", "tool_call")  # a turn of the assistant whose text is the call


@FORMATS.register("chat")
def read_chat(record: Mapping[str, Any]) -> Chat:
    """{"messages"} or {"conversations"}: what assistants say is learned."""
    key = "messages" if "messages" in record else "conversations"
    said = turns(record.get(key))
    system = record.get("system")
    if isinstance(system, str) and system.strip() and said[0].role not in ("system", "developer"):
        said = (Message("system", system), *said)
    return Chat(said, tools(record.get("tools")))


def turns(value: Any, *, ends: bool = True) -> tuple[Message, ...]:
    """Checked messages. `ends`: the last must be the assistant's. Raises `BadInput` that counts turns from 1."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise BadInput("there are no messages", hint='give a list of {"role": ..., "content": ...}')
    found = tuple(_message(turn, i) for i, turn in enumerate(value, 1))
    for i, message in enumerate(found[1:], 2):
        if message.role == "system":
            raise BadInput(f"turn {i} is the system's", hint="only the first turn may be")
    if ends and all(m.role != "assistant" for m in found):
        raise BadInput("no turn is the assistant's", hint="there is nothing to learn; on_error=skip leaves it out")
    if ends and found[-1].role != "assistant":
        raise BadInput(
            f"the last turn is the {found[-1].role}'s; the assistant's is missing",
            hint="add the answer or remove the turn; on_error=skip leaves such records out",
        )
    return found


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, Mapping):
        raise BadInput(f"turn {number} is no object", hint='write {"role": ..., "content": ...}')
    name = turn.get("role", turn.get("from"))
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise BadInput(f"turn {number} has the role {name!r}", hint=did_you_mean(str(name), ROLES))
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = _parts(content, number)
    if name in CALLS:
        return Message("assistant", "", tool_calls=(_call(content, number),))
    calls = tuple(_call(call, number) for call in turn.get("tool_calls") or ())
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise BadInput(f"turn {number} has no text", hint="content must be text")
    if not content.strip() and not calls and role not in ("system", "tool"):
        raise BadInput(f"turn {number}, the {role}'s, is empty", hint="on_error=skip leaves such records out")
    return Message(cast(Role, role), content, turn.get("name"), tool_calls=calls, tool_call_id=turn.get("tool_call_id"))


def _parts(parts: list[Any], number: int) -> str:
    """OpenAI's content as a list of parts; only text can be learned."""
    for part in parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise BadInput(f"turn {number} holds something that is no text", hint="leave images and sounds out")
    return "".join(part["text"] for part in parts)


def _call(value: Any, number: int) -> ToolCall:
    """A call in OpenAI's shape, or as JSON text of {"name", "arguments"}."""
    wrong = BadInput(f"turn {number} holds no call of a tool", hint='a call is {"name": ..., "arguments": {...}}')
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise wrong from None
    if not isinstance(value, Mapping):
        raise wrong
    inner = value.get("function", value)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise wrong
    arguments = inner.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(str(value.get("id", "")), inner["name"], text)


def tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The tools that a chat may use, in OpenAI's shape; they may come as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError:
            raise BadInput("'tools' is text that is not JSON", hint="give a list of JSON schemas") from None
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, Mapping) for tool in value):
        raise BadInput("'tools' is no list of objects", hint="give a list of JSON schemas")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in value)
