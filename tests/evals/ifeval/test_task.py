"""The task: what it asks, how it grades, what changes its hash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.evals import tasks
from idiolect.evals.types import Chosen, Generate, Generated, Task

ROWS = [
    {
        "key": 7,
        "prompt": "Write a title and no comma.",
        "instruction_id_list": ["detectable_format:title", "punctuation:no_comma"],
        "kwargs": [{"num_words": None}, {}],
    },
    {
        "key": 8,
        "prompt": "At least two words.",
        "instruction_id_list": ["length_constraints:number_words"],
        "kwargs": [{"num_words": 2, "relation": "at least"}],
    },
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "ifeval").mkdir()
    (tmp_path / "ifeval/input_data.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


def test_grades_and_figures(base: Path) -> None:
    task = tasks.load("ifeval", base)
    assert isinstance(task, Task)
    first, second = task.items()
    assert isinstance(first.request, Generate) and first.request.messages[0].content == ROWS[0]["prompt"]
    one = task.grade(first, Generated("<<so>>, there"))
    two = task.grade(second, Generated("two words"))
    assert (one["prompt_strict"], two["prompt_strict"]) == (0.0, 1.0)
    columns = {name: np.array([one[name], two[name]]) for name in one}
    assert task.aggregate(columns) == {
        "instruction_strict": pytest.approx(2 / 3),
        "instruction_loose": pytest.approx(2 / 3),
    }
    with pytest.raises(BadInput, match="chosen"):
        task.grade(first, Chosen((0.0,), (1,), (1,), (True,)))


def test_identity(base: Path) -> None:
    task, plain = tasks.load("ifeval", base), tasks.load("ifeval_plain", base)
    assert task.hash == tasks.load("ifeval", base).hash != plain.hash
    (item, _) = plain.items()
    assert isinstance(item.request, Generate) and item.request.prompt == ROWS[0]["prompt"]
    assert len(list(task.items(1))) == 1
    (base / "ifeval/input_data.jsonl").write_text(json.dumps(ROWS[0]))
    assert tasks.load("ifeval", base).hash != task.hash


def test_damaged_data_stop_before_anything_is_asked(base: Path) -> None:
    file = base / "ifeval/input_data.jsonl"
    file.write_text(json.dumps(ROWS[0] | {"instruction_id_list": ["punctuation:no_coma", "startend:quotation"]}))
    with pytest.raises(NotFound, match="no_coma"):
        list(tasks.load("ifeval", base).items())
    file.write_text(json.dumps({"prompt": "x"}))
    with pytest.raises(CorruptFile, match="instruction_id_list"):
        list(tasks.load("ifeval", base).items())
    with pytest.raises(NotFound, match="--data"):
        list(tasks.load("ifeval", None).items())
