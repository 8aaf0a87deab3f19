"""HumanEval and MBPP on two small problems of each shape: right programs pass, wrong ones do not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from idiolect.core.errors import BadInput, Unavailable
from idiolect.evals import tasks
from idiolect.evals.sandbox import sandbox
from idiolect.evals.sandbox.code import block
from idiolect.evals.types import Generate, Generated, Task

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """The sum."""\n',
    "entry_point": "total",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}
MBPP = {
    "task_id": 1,
    "text": "Write a function that doubles a number.",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert double(0) == 0"],
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    try:
        sandbox()
    except Unavailable as error:
        pytest.skip(str(error))
    for name in ("humaneval", "mbpp"):
        (tmp_path / name).mkdir()
    (tmp_path / "humaneval/HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    (tmp_path / "mbpp/mbpp.jsonl").write_text(json.dumps(MBPP))
    return tmp_path


def test_humaneval(base: Path) -> None:
    task = tasks.load("humaneval", base)
    assert isinstance(task, Task)
    (item,) = task.items()
    assert isinstance(item.request, Generate) and item.request.prompt == HUMANEVAL["prompt"]
    assert task.grade(item, Generated("    return sum(xs)\n"))["pass_at_1"] == 1
    assert task.grade(item, Generated("    return len(xs)\n"))["pass_at_1"] == 0
    assert task.grade(item, Generated("    raise SystemExit(0)\n"))["pass_at_1"] == 0


def test_humaneval_in_a_chat(base: Path) -> None:
    from idiolect.evals.sandbox.task import CodeTask

    task = CodeTask(base, format="chat")
    (item,) = task.items()
    assert isinstance(item.request, Generate) and "def total" in item.request.messages[0].content
    whole = "Here:\n```python\ndef total(xs: List[int]) -> int:\n    return sum(xs)\n```\nDone."
    assert task.grade(item, Generated(whole))["pass_at_1"] == 1
    assert task.hash != CodeTask(base).hash


def test_mbpp(base: Path) -> None:
    task = tasks.load("mbpp", base)
    (item,) = task.items()
    assert isinstance(item.request, Generate) and "assert double(2) == 4" in (item.request.prompt or "")
    assert task.grade(item, Generated("def double(x):\n    return 2 * x\n[DONE]\nnonsense"))["pass_at_1"] == 1
    assert task.grade(item, Generated("def double(x):\n    return x\n"))["pass_at_1"] == 0


def test_pass_at_k_and_its_resampling(base: Path) -> None:
    from idiolect.evals.sandbox.task import CodeTask

    task = CodeTask(base, samples=3, k=2)
    items = list(task.items())
    assert len({item.id for item in items}) == 3
    assert len({item.request.sampling.seed for item in items if isinstance(item.request, Generate)}) == 3
    columns = {
        "_problem": np.array([0, 0, 0, 1, 1, 1.0]),
        "_first": np.array([1, 0, 0, 1, 0, 0.0]),
        "pass_at_1": np.array([1, 0, 0, 0, 0, 0.0]),
    }
    assert task.aggregate(columns) == {"pass_at_2": pytest.approx((2 / 3 + 0) / 2)}
    twice = {name: np.concatenate([values, values[:3]]) for name, values in columns.items()}
    assert task.aggregate(twice) == {"pass_at_2": pytest.approx(2 * (2 / 3) / 3)}
    with pytest.raises(BadInput, match="temperature"):
        CodeTask(base, samples=2, temperature=0)
    with pytest.raises(BadInput, match="pass@4"):
        CodeTask(base, samples=3, k=4)


def test_code_of_an_answer() -> None:
    assert block("a\n```python\nx = 1\n```\nb ```\ny\n```") == "x = 1"
    assert block("no block") == "no block"
    assert block("cut:\n```\nx = 1\ny") == "x = 1\ny"
