"""Published shapes are told apart and read alike; what is wrong with a record is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idiolect.core.call import Message, ToolCall
from idiolect.core.errors import BadInput
from idiolect.data import Dataset
from idiolect.data.examples import Chat, Completion, Labelled, Preference, Text
from idiolect.data.formats import detect, read
from tests.data.parts import jsonl

USER, GOOD, BAD = Message("user", "Q"), Message("assistant", "good"), Message("assistant", "bad")
ASKED = {"role": "user", "content": "Q"}
PAIR = Preference((USER,), ((GOOD,), (BAD,)))
HISTORY = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: Q\n\nAssistant: "


@pytest.mark.parametrize(
    ("record", "example"),
    [
        ({"text": "a"}, Text("a")),
        ({"text": "a", "label": "x"}, Labelled("a", "x")),
        ({"text": "a", "label": 1}, Labelled("a", 1.0)),
        ({"prompt": "p", "completion": "c"}, Completion("p", "c")),
        ({"instruction": "i", "input": "", "output": "o"}, Completion("i", "o")),
        ({"instruction": "i", "input": "j", "output": "o", "history": []}, Completion("i\n\nj", "o")),
        ({"instruction": "i", "context": "j", "response": "o", "category": "qa"}, Completion("i\n\nj", "o")),
        ({"instruction": "i", "context": None, "response": "o"}, Completion("i", "o")),
        ({"system": "S", "prompt": "p", "completion": "c"}, Completion("p", "c", "S")),
        (
            {"instruction": "Q", "output": "good", "history": [["hi", "hello"]], "system": "S"},
            Chat((Message("system", "S"), Message("user", "hi"), Message("assistant", "hello"), USER, GOOD)),
        ),
        (
            {"instruction": "Q", "chosen": "good", "rejected": "bad", "history": [["hi", "hello"]]},
            Preference((Message("user", "hi"), Message("assistant", "hello"), USER), PAIR.responses),
        ),
        ({"text": "a", "first": "", "last": None}, Text("a")),
        ({"messages": [ASKED, {"role": "assistant", "content": "good"}]}, Chat((USER, GOOD))),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Q"}]},
                    {"from": "gpt", "value": "good"},
                ]
            },
            Chat((USER, GOOD)),
        ),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "good"}], "system": "S"},
            Chat((Message("system", "S"), USER, GOOD)),
        ),
        (
            {
                "prompt": [ASKED],
                "completion": [{"role": "assistant", "content": "good"}],
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            Chat((USER, GOOD), ({"type": "function", "function": {"name": "f"}},), asked=1),
        ),
        ({"prompt": "Q", "chosen": "good", "rejected": "bad"}, PAIR),
        ({"instruction": "Q", "output": "good", "chosen": "good", "rejected": "bad"}, PAIR),
        (
            {
                "conversations": [{"from": "human", "value": "Q"}],
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
            PAIR,
        ),
        (
            {
                "chosen": [ASKED, {"role": "assistant", "content": "good"}],
                "rejected": [ASKED, {"role": "assistant", "content": "bad"}],
            },
            PAIR,
        ),
        (
            {"chosen": HISTORY + "good", "rejected": HISTORY + "bad"},
            Preference((Message("user", "hi"), Message("assistant", "hello"), USER), PAIR.responses),
        ),
        (
            {"prompt": "Q", "responses": ["good", "so", "bad"]},
            Preference((USER,), ((GOOD,), (Message("assistant", "so"),), (BAD,))),
        ),
    ],
)
def test_shapes(record: dict[str, Any], example: Any) -> None:
    assert read(record) == example


def test_tool_calls() -> None:
    turns = [
        {"from": "human", "value": "Q"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "good"},
    ]
    found = read({"conversations": turns, "tools": '[{"name": "f"}]'})
    assert isinstance(found, Chat)
    assert found.messages[1] == Message("assistant", "", tool_calls=(ToolCall("", "f", '{"x": 1}'),))
    assert found.messages[2] == Message("tool", "2")
    assert found.tools == ({"type": "function", "function": {"name": "f"}},)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"messages": []}, "there are no messages"),
        ({"messages": [ASKED]}, "no turn is the assistant's"),
        ({"messages": [ASKED, {"role": "assistant", "content": "a"}, ASKED]}, "the assistant's is missing"),
        ({"messages": [{"role": "usr", "content": "a"}]}, "turn 1 has the role 'usr'"),
        ({"messages": [ASKED, {"role": "assistant", "content": " "}]}, "turn 2, the assistant's, is empty"),
        ({"messages": [ASKED, {"role": "system", "content": "x"}]}, "turn 2 is the system's"),
        ({"messages": [ASKED, {"role": "assistant", "content": [{"type": "image"}]}]}, "something that is no text"),
        ({"messages": [ASKED, {"role": "assistant"}]}, "turn 2 has no text"),
        ({"messages": [ASKED, {"from": "function_call", "value": "f(x)"}]}, "no call of a tool"),
        ({"messages": [ASKED], "label": True}, "KTO"),
        ({"prompt": "p", "completion": "  "}, "'completion' is empty"),
        ({"prompt": "p"}, "'completion' is missing"),
        ({"prompt": "p", "completion": 3}, "'completion' is no text"),
        ({"instruction": "", "input": "", "output": "o"}, "'instruction' is empty"),
        ({"instruction": "i", "output": "o", "history": ["a"]}, "'history' is no list of pairs"),
        ({"prompt": "p", "chosen": "a"}, "'rejected' is missing"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "the same"),
        ({"prompt": "p", "chosen": "a", "rejected": ""}, "'rejected' is empty"),
        ({"chosen": "a", "rejected": "b"}, "the prompt is missing"),
        ({"prompt": "p", "responses": ["a"]}, "fewer than two"),
        ({"text": "a", "label": None}, "'label' is None"),
        ({"txt": "a"}, "has the keys txt"),
        ("a", "a record is text"),
    ],
)
def test_what_is_wrong_is_said(record: Any, says: str) -> None:
    with pytest.raises(BadInput) as error:
        read(record)
    assert says in str(error.value)
    assert error.value.hint


def test_a_data_set_has_one_format(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"prompt": "p", "completion": "c"}, {"text": "a"}])
    with pytest.raises(BadInput, match=r"x.jsonl, line 2: this is text, the records before are completion"):
        list(Dataset(path))
    labelled = jsonl(tmp_path / "y.jsonl", [{"text": "a", "label": "x"}])
    assert list(Dataset(labelled, format="text")) == [Text("a")], "a text may be read without its label"
    assert detect({"text": "a", "label": "x"}) == "labelled"
