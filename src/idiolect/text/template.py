"""Chat templates: messages in, token ids and loss mask out.

The template is Jinja, as published with the model. Its text is never re-read as a whole: control tokens are taken only
from the template's own characters (`marked` keeps the origin of each), so that no message can open or close a turn,
and the ordinary text between two control tokens is encoded in one piece, so that the ids are those of
`transformers.apply_chat_template`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2
from jinja2.sandbox import SecurityError

from idiolect.core.call import Message
from idiolect.core.errors import BadInput
from idiolect.text.hf import HFTokenizer
from idiolect.text.marked import GENERATED, mark, message_code, origin_of, taint, visible
from idiolect.text.sandbox import Refused, Sandbox, TooMuch

# A template may build control tokens from these (`'<|' + role + '|>'`); any other role is data.
KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

Part = tuple[list[int], list[tuple[int, int]]]  # ids and the characters that each stands for


@dataclass(frozen=True)
class Rendered:
    """A rendered conversation. `ids` [N]; `text` is what the template wrote, for people to read."""

    ids: list[int]
    text: str
    _mask: Callable[[], list[int]] = field(repr=False, compare=False)

    @cached_property
    def mask(self) -> list[int]:
        """[N] 1 on the tokens that assistants said, the one that ends their turn included, else 0."""
        return self._mask()


class Template:
    """A chat template bound to its tokenizer. Rendering is safe from several threads.

    `clock` is what `strftime_now` reads: give a fixed one where a prompt must not change with the date.
    """

    def __init__(
        self, source: str, tokenizer: HFTokenizer, name: str = "", *, clock: Callable[[], datetime] = datetime.now
    ) -> None:
        """Raises `BadInput` for a template that is no Jinja."""
        self.source = source
        self.tokenizer = tokenizer
        self.name = name
        self._sandbox = Sandbox(clock)
        try:
            self._template, self._marks_generation = self._sandbox.compile_template(source)
        except jinja2.TemplateSyntaxError as error:
            raise BadInput(
                f"the chat template{self._named} is malformed at line {error.lineno}: {error.message}",
                hint="correct the template or give another",
            ) from error
        except RecursionError as error:
            raise BadInput(f"the chat template{self._named} is nested too deep", hint="give another") from error

    @property
    def _named(self) -> str:
        return f" {self.name!r}" if self.name else ""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the template and of the tokenizer that reads it."""
        return hashlib.sha256(f"{self.tokenizer.fingerprint}\n{self.source}".encode()).hexdigest()

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation: bool = True,
        **kwargs: Any,
    ) -> Rendered:
        """Render a conversation.

        `tools` are JSON schemas in OpenAI's shape, `add_generation` ends with the header of the assistant's next
        turn, and `kwargs` are further variables of the template (`enable_thinking=False`); strings in all of them are
        data. Raises `BadInput` when the template refuses the messages (its own words), fails, does not end, or tries
        what the sandbox forbids.
        """
        messages = list(messages)
        text, origin = self._write(messages, tools, add_generation, kwargs)
        parts = self.tokenizer.encode_parts(text, visible(text, origin))
        ids = [token for part in parts for token in part[0]]

        def find_mask() -> list[int]:
            if self._marks_generation:
                flags = bytearray(ord(c) & GENERATED for c in origin)
            else:
                flags = self._assistant_flags(messages, tools, kwargs, text, origin, parts)
            return _token_mask(parts, flags)

        return Rendered(ids, str.__str__(text), find_mask)

    # ---------------------------------------------------------------------------------------------- rendering

    def _write(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        add_generation: bool,
        kwargs: Mapping[str, Any],
    ) -> tuple[str, str]:
        """The text and the origin of its characters, [characters] each."""
        variables: dict[str, Any] = {**self.tokenizer.named, "tools": None, "documents": None, **mark(dict(kwargs))}
        variables["messages"] = [_as_dict(message, i) for i, message in enumerate(messages)]
        variables["add_generation_prompt"] = add_generation
        if tools:
            variables["tools"] = mark([dict(tool) for tool in tools])
        size = sum(len(m.content) + sum(len(c.arguments) for c in m.tool_calls) + 64 for m in messages)
        limit = 1_000_000 + 16 * size
        parts: list[str] = []
        length = 0
        try:
            with self._sandbox.run(limit):
                for piece in self._template.root_render_func(self._template.new_context(variables)):
                    parts.append(piece)
                    length += len(piece)
                    self._sandbox.check(length)
        except Refused as error:
            raise BadInput(
                f"the chat template{self._named} refuses these messages: {error.message}", param="messages"
            ) from error
        except SecurityError as error:
            raise BadInput(
                f"the chat template{self._named} tried something unsafe: {error.message}",
                hint="do not trust this model",
            ) from error
        except TooMuch as error:
            raise BadInput(
                f"the chat template{self._named} was stopped: {error.message}", hint="do not trust this model"
            ) from error
        except Exception as error:  # templates fail in every way that programs do
            said = " ".join(str(error).split())[:300]
            raise BadInput(
                f"the chat template{self._named} failed: {type(error).__name__}: {said}",
                hint="the messages or tools are not of the shape that it expects, or it is broken",
                param="messages",
            ) from error
        return "".join(map(str.__str__, parts)), "".join(map(origin_of, parts))

    # --------------------------------------------------------------------------------------------------- mask

    def _assistant_flags(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        kwargs: Mapping[str, Any],
        text: str,
        origin: str,
        parts: Sequence[Part],
    ) -> bytearray:
        """For a template without generation blocks: [characters] 1 from the end of the header of each assistant turn
        to the control token that closes it."""
        control = set(self.tokenizer.specials.values())
        controls = [(s[0][0], s[0][1], i[0]) for i, s in parts if len(i) == 1 and i[0] in control]
        bounds = [(origin.find(c), origin.rfind(c) + 1) for c in map(message_code, range(len(messages)))]
        ends = set(self.tokenizer.eos_ids)
        openers = _openers(controls, [first for first, _ in bounds]) - ends
        others = [b[0] for b, m in zip(bounds, messages, strict=True) if m.role != "assistant"]
        other_openers = _openers(controls, others) - ends
        flags = bytearray(len(text))
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            first, last = bounds[index]
            before = max((end for _, end in bounds[:index]), default=0)
            following = min((start for start, _ in bounds[index + 1 :] if start >= 0), default=len(text))
            start = self._header_end(messages[:index], tools, kwargs, text)
            if start is None or start < before or start > (following if first < 0 else first):
                start = first
            elif next((c[2] for c in controls if c[0] >= start), None) in other_openers:
                start = first  # the template writes no header for the turn to come: its own still lies ahead
            if start < 0:
                continue  # the template left the turn out
            end = max(last, start)
            closing = next((c for c in controls if c[0] >= end), None)
            if closing is not None and closing[1] <= following and closing[2] not in openers:
                end = closing[1]
            flags[start:end] = b"\x01" * (end - start)
        return flags

    def _header_end(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], text: str
    ) -> int | None:
        """Where the assistant's turn after `messages` begins in `text`: the prompt for it ends there."""
        try:
            prompt, _ = self._write(messages, tools, True, kwargs)
        except BadInput:
            return None
        return len(prompt) if text.startswith(prompt) else None


def _openers(controls: Sequence[tuple[int, int, int]], starts: Sequence[int]) -> set[int]:
    """The control tokens that stand last before the texts that begin at `starts` (-1: no text)."""
    last = (max((c for c in controls if c[1] <= start), default=None) for start in starts if start >= 0)
    return {c[2] for c in last if c is not None}


def _token_mask(parts: Sequence[Part], flags: bytearray) -> list[int]:
    """A token counts when any of its characters does. [characters] -> [N]"""
    return [
        1 if any(flags[a : max(b, a + 1)]) else 0  # a token without characters of its own: the place where it stands
        for _, spans in parts
        for a, b in spans
    ]


def _as_dict(message: Message, index: int) -> dict[str, Any]:
    """A message in the shape that published templates read: arguments of tool calls as objects."""
    code = message_code(index)
    shape: dict[str, Any] = {
        "role": message.role if message.role in KNOWN_ROLES else taint(message.role, code),
        "content": taint(message.content, code),
    }
    if message.name is not None:
        shape["name"] = taint(message.name, code)
    if message.tool_call_id is not None:
        shape["tool_call_id"] = taint(message.tool_call_id, code)
    if message.tool_calls:
        shape["tool_calls"] = [
            {
                "id": taint(call.id, code),
                "type": "function",
                "function": {"name": taint(call.name, code), "arguments": mark(_arguments(call.arguments), code)},
            }
            for call in message.tool_calls
        ]
    return shape


def _arguments(text: str) -> Any:
    """Tool arguments as the object they spell; as text when they spell none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text
