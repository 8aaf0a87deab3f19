"""Prompt and completion; also Alpaca's instruction, input and output (Taori et al. 2023, Stanford Alpaca)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.data.examples import Chat, Completion
from idiolect.data.formats import FORMATS
from idiolect.data.formats.chat import turns
from idiolect.data.formats.fields import text

ANSWERS = ("completion", "output", "response")


@FORMATS.register("completion")
def read_completion(record: Mapping[str, Any]) -> Completion | Chat:
    """{"prompt", "completion"} or {"instruction", "input", "output"}: only the answer is learned."""
    key = next((k for k in ANSWERS if k in record), ANSWERS[0] if "prompt" in record else "output")
    if isinstance(record.get("prompt"), list) and isinstance(record.get(key), list):
        return Chat((*turns(record["prompt"], ends=False), *turns(record[key])))
    answer = text(record, key)
    if "instruction" in record:
        return Completion(instruction(record), answer, text(record, "system", empty=True) if "system" in record else "")
    # A prompt may be empty: "whatever begins a text" is a prompt too.
    return Completion(text(record, "prompt", empty=True), answer)


def instruction(record: Mapping[str, Any]) -> str:
    """What an Alpaca record asks: the instruction, a blank line, and the input where there is one."""
    asked = text(record, "instruction", empty=True)
    given = text(record, "input", empty=True) if "input" in record else ""
    if not (asked + given).strip():
        raise BadInput("'instruction' is empty", hint="on_error=skip leaves such records out")
    return f"{asked}\n\n{given}" if asked and given else asked or given
