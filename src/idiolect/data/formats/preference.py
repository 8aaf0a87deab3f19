"""Preferences: a prompt, a chosen and a rejected response, or several responses ranked from the best.

Prompt and responses are texts or chats. Where the prompt is not given, it is what the responses begin with alike: so
with chats that repeat it, and with the transcripts of HH-RLHF (Bai et al. 2022, arXiv:2204.05862), in which turns begin
with "Human:" and "Assistant:".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from idiolect.core.call import Message
from idiolect.core.errors import BadInput
from idiolect.data.examples import Preference
from idiolect.data.formats import FORMATS
from idiolect.data.formats.chat import turns
from idiolect.data.formats.completion import history, instruction
from idiolect.data.formats.fields import text

TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \t]?")


@FORMATS.register("preference")
def read_preference(record: Mapping[str, Any]) -> Preference:
    """{"prompt", "chosen", "rejected"} or {"prompt", "responses": [best, ..., worst]}."""
    if "responses" in record:
        given = record["responses"]
        if not isinstance(given, list) or len(given) < 2:
            raise BadInput("'responses' has fewer than two", hint="give a list, the best first")
        named = {f"responses.{i}": value for i, value in enumerate(given)}
    else:
        for key in ("chosen", "rejected"):
            if key not in record:
                raise BadInput(f"the key {key!r} is missing", hint="a pair needs both")
        named = {key: record[key] for key in ("chosen", "rejected")}
    prompt = _prompt(record)
    whole = [_turns(key, value) for key, value in named.items()]
    if prompt is None:
        prompt = _common(whole)
        if not prompt:
            raise BadInput("the prompt is missing", hint="give 'prompt', or let the responses begin with it alike")
    same = len(prompt)
    if all(r[:same] == prompt and len(r) > same for r in whole):
        whole = [r[same:] for r in whole]
    for key, response in zip(named, whole, strict=True):
        if response[-1].role != "assistant":
            raise BadInput(f"{key!r} ends with the {response[-1].role}'s turn", hint="a response is the assistant's")
        if not response[-1].content.strip() and not response[-1].tool_calls:
            raise BadInput(f"{key!r} is empty", hint="on_error=skip leaves such records out")
    if any(a == b for i, a in enumerate(whole) for b in whole[:i]):
        raise BadInput("two responses are the same", hint="nothing can be preferred; on_error=skip leaves it out")
    return Preference(prompt, tuple(whole))


def _prompt(record: Mapping[str, Any]) -> tuple[Message, ...] | None:
    for key in ("prompt", "messages", "conversations"):
        value = record.get(key)
        if isinstance(value, str):
            found: tuple[Message, ...] = (*history(record), Message("user", text(record, key)))
            break
        if value is not None:
            found = turns(value, ends=False)
            break
    else:
        if "instruction" not in record:
            return None
        found = (*history(record), Message("user", instruction(record)))
    system = record.get("system")
    return (Message("system", system), *found) if isinstance(system, str) and system.strip() else found


def _turns(key: str, value: Any) -> tuple[Message, ...]:
    """A response: a text, a transcript, a message or several."""
    if isinstance(value, str):
        return transcript(value) or (Message("assistant", value),)
    try:
        return turns(value, ends=False)
    except BadInput as error:
        error.message = f"{key!r}: {error.message}"
        raise


def transcript(value: str) -> tuple[Message, ...]:
    """The turns of an HH-RLHF transcript; none when the text is no transcript."""
    marks = list(TURN.finditer(value))
    if not marks or value[: marks[0].start()].strip() or marks[0][1] != "Human":
        return ()
    ends = [*(m.start() for m in marks[1:]), len(value)]
    return tuple(
        Message("user" if m[1] == "Human" else "assistant", value[m.end() : end].strip())
        for m, end in zip(marks, ends, strict=True)
    )


def _common(responses: Sequence[tuple[Message, ...]]) -> tuple[Message, ...]:
    """The turns with which all begin alike; a response keeps one turn at least."""
    most = min(map(len, responses)) - 1
    same = 0
    while same < most and all(r[same] == responses[0][same] for r in responses):
        same += 1
    # What differs begins with an answer: a question that only one of them asks belongs to its response.
    return responses[0][:same]
