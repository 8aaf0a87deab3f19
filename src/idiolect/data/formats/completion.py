"""Prompt and completion; also Alpaca's instruction, input and output (Taori et al. 2023, Stanford Alpaca), Dolly's
instruction, context and response (Conover et al. 2023), and LLaMA-Factory's history of earlier turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.call import Message
from idiolect.core.errors import BadInput
from idiolect.data.examples import Chat, Completion
from idiolect.data.formats import FORMATS
from idiolect.data.formats.chat import tools, turns
from idiolect.data.formats.fields import text

ANSWERS = ("completion", "output", "response")


@FORMATS.register("completion")
def read_completion(record: Mapping[str, Any]) -> Completion | Chat:
    """{"prompt", "completion"} or {"instruction", "input", "output"}: only the answer is learned. With a "history" the
    answers in it are learned too."""
    key = next((k for k in ANSWERS if k in record), ANSWERS[0] if "prompt" in record else "output")
    if isinstance(record.get("prompt"), list) and isinstance(record.get(key), list):
        asked = turns(record["prompt"], ends=False)
        return Chat((*asked, *turns(record[key])), tools(record.get("tools")), len(asked))
    answer = text(record, key)
    system = text(record, "system", empty=True) if "system" in record else ""
    # A prompt may be empty: "whatever begins a text" is a prompt too.
    prompt = instruction(record) if "instruction" in record else text(record, "prompt", empty=True)
    before = history(record)
    if before:
        first = (Message("system", system),) if system.strip() else ()
        return Chat((*first, *before, Message("user", prompt), Message("assistant", answer)))
    return Completion(prompt, answer, system)


def instruction(record: Mapping[str, Any]) -> str:
    """What an Alpaca or Dolly record asks: the instruction, a blank line, and the input where there is one."""
    asked = text(record, "instruction", empty=True)
    given = next(
        (value for key in ("input", "context") if key in record and (value := text(record, key, empty=True))), ""
    )
    if not (asked + given).strip():
        raise BadInput("'instruction' is empty", hint="on_error=skip leaves such records out")
    return f"{asked}\n\n{given}" if asked and given else asked or given


def history(record: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns of "history": [[question, answer], ...]."""
    pairs = record.get("history") or []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(said, str) for said in pair) for pair in pairs
    ):
        raise BadInput("'history' is no list of pairs of texts", hint='write [["question", "answer"], ...]')
    return tuple(turn for asked, said in pairs for turn in (Message("user", asked), Message("assistant", said)))
