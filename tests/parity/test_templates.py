"""Chat templates against transformers' `apply_chat_template`, token for token."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from idiolect.core.call import Message, ToolCall
from idiolect.text.hf import HFTokenizer
from idiolect.text.template import Template
from tests.text import tiny

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

WORDS = [
    "Hi.",
    "",
    "  leading and trailing  ",
    "\n\nlines\n",
    "日本語 👩‍👩‍👧 é",
    "a <b> [x] {y} | \\ 'q' \"z\"",
    "12345 + 0.5",
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather <now> in a city & land.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Größe"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    }
]
NAMES = ["chatml", "chatml_generation", "llama2", "llama3", "mistral", "gemma", "qwen2", "qwen3", "phi3"]
NO_SYSTEM = {"gemma"}
WITH_TOOLS = {"llama3", "mistral", "qwen2", "qwen3"}
CALL = ToolCall("call12345", "get_weather", '{"city": "Zürich", "days": 2}')


def conversations(name: str) -> list[tuple[list[Message], list[dict[str, Any]]]]:
    """Conversations that a template of this name accepts, each with its tools."""
    turns = [Message("user" if i % 2 == 0 else "assistant", word) for i, word in enumerate(WORDS)]
    plain = [turns[:1], turns[:2], turns[:3], turns[:6], turns, [Message("user", w) for w in WORDS[-2:-1]]]
    plain += [[Message("user", w), Message("assistant", w), Message("user", w)] for w in WORDS]
    if name not in NO_SYSTEM:
        plain += [[Message("system", w), *turns[:3]] for w in ("Be brief.", " spaced ", "日本")]
    if name == "qwen3":
        thought = "<think>\nI wonder.\n</think>\n\nHello."
        plain.append([turns[0], Message("assistant", thought), turns[2], Message("assistant", thought)])
    found: list[tuple[list[Message], list[dict[str, Any]]]] = [(c, []) for c in plain]
    if name in WITH_TOOLS:
        ask = [Message("user", "Weather?"), Message("assistant", "", tool_calls=(CALL,))]
        answer = [Message("tool", '{"temperature": 21}', tool_call_id="call12345"), Message("assistant", "It is 21.")]
        found += [(c, TOOLS) for c in (turns[:1], turns[:3], ask, [*ask, answer[0]], [*ask, *answer])]
        found.append(([*ask, *answer], []))
    return found


def as_dicts(messages: list[Message]) -> list[dict[str, Any]]:
    """The same messages in transformers' documented shape."""
    shaped = []
    for message in messages:
        shape: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_call_id:
            shape["tool_call_id"] = message.tool_call_id
        if message.tool_calls:
            shape["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.loads(c.arguments)}}
                for c in message.tool_calls
            ]
        shaped.append(shape)
    return shaped


@cache
def pair(name: str) -> tuple[Template, Any]:
    """Our template and transformers' tokenizer, made from the same text."""
    import tokenizers

    family = tiny.FAMILY.get(name, name)
    source = tiny.template(name)
    ours = HFTokenizer(json.loads(tiny.spec(family)), tiny.NAMED[family])
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(tiny.spec(family)), **tiny.NAMED[family]
    )
    theirs.chat_template = source
    return Template(source, ours, name), theirs


@pytest.mark.parametrize("add_generation", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_ids_equal_transformers(name: str, add_generation: bool) -> None:
    template, theirs = pair(name)
    for messages, tools in conversations(name):
        extra = {"date_string": "1 Jan 2026"} if name == "llama3" else {}
        want = theirs.apply_chat_template(
            as_dicts(messages),
            tools=tools or None,
            add_generation_prompt=add_generation,
            return_dict=False,
            **extra,
        )
        text = theirs.apply_chat_template(
            as_dicts(messages), tools=tools or None, add_generation_prompt=add_generation, tokenize=False, **extra
        )
        got = template.render(messages, tools, add_generation, **extra)
        assert got.text == text
        assert got.ids == want, text
        assert len(got.mask) == len(got.ids)


def test_settings_reach_the_template() -> None:
    template, theirs = pair("qwen3")
    messages = [Message("user", "Hi")]
    for thinking in (True, False):
        want = theirs.apply_chat_template(
            as_dicts(messages), add_generation_prompt=True, enable_thinking=thinking, return_dict=False
        )
        assert template.render(messages, enable_thinking=thinking).ids == want


def test_generation_mask_equals_transformers() -> None:
    template, theirs = pair("chatml_generation")
    for messages, _ in conversations("chatml_generation"):
        for add in (True, False):
            want = theirs.apply_chat_template(
                as_dicts(messages), add_generation_prompt=add, return_dict=True, return_assistant_tokens_mask=True
            )
            got = template.render(messages, add_generation=add)
            assert got.ids == list(want["input_ids"])
            assert got.mask == list(want["assistant_masks"])


def test_derived_mask_equals_the_generation_blocks() -> None:
    """The same conversation by a template with generation blocks and by one without."""
    plain, _ = pair("chatml")
    blocks, _ = pair("chatml_generation")
    for messages, _ in conversations("chatml"):
        a, b = plain.render(messages), blocks.render(messages)
        assert a.ids == b.ids
        assert a.mask == b.mask


def test_embedded_template_equals_transformers(smol: Any) -> None:
    import tokenizers

    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(smol.tokenizer.to_json()), **smol.tokenizer.named
    )
    theirs.chat_template = smol.template.source
    for messages, _ in conversations("chatml"):
        for add in (True, False):
            want = theirs.apply_chat_template(as_dicts(messages), add_generation_prompt=add, return_dict=False)
            assert smol.template.render(messages, add_generation=add).ids == want
