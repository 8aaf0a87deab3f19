"""Perturbations are seeded, small, and leave alone what they should; the change is a paired figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.call import Message
from idiolect.core.errors import BadInput, NotFound
from idiolect.evals.robustness import PERTURBATIONS, Perturbed, change, perturb, reorder
from idiolect.evals.types import Choose, Generate, Item, Metric, Roll, Search, Task, task_hash
from tests.evals.metrics.test_texts import by_hand

QUESTION = "What is the capital of France, and how many people lived there in the year 1900?"


@given(st.sampled_from(PERTURBATIONS.names()), st.text(max_size=60), st.integers(0, 5))
def test_the_same_seed_gives_the_same_text(name: str, text: str, seed: int) -> None:
    assert perturb(name, text, seed) == perturb(name, text, seed)


@pytest.mark.parametrize("name", PERTURBATIONS.names())
def test_each_changes_something_and_says_what(name: str) -> None:
    assert perturb(name, QUESTION) != QUESTION
    assert PERTURBATIONS.describe(name)
    with pytest.raises(NotFound, match="typos"):
        perturb("typo", QUESTION)


@given(st.text("abcdefgh XYZ.", min_size=1, max_size=80), st.integers(0, 3))
def test_typos_are_few(text: str, seed: int) -> None:
    slips = max(1, round(0.05 * sum(c.isalpha() for c in text)))
    assert by_hand(text, perturb("typos", text, seed)) <= 2 * slips


@given(st.text("ab C.?", max_size=50))
def test_spaces_and_case_keep_the_words(text: str) -> None:
    assert perturb("spaces", text).split() == text.split()
    assert perturb("lower", text).upper() == perturb("upper", text)
    assert text.startswith(perturb("punctuation", text))
    assert text in perturb("paraphrase", text) or text != text.strip()


@given(st.lists(st.text("abc", max_size=2), min_size=1, max_size=6), st.data())
def test_options_move_and_the_right_one_with_them(options: list[str], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(options) - 1))
    found = reorder(options, target, seed=3)
    assert sorted(found.options) == sorted(options)
    assert found.options[found.target] == options[target] and found.order[found.target] == target
    assert (found.order != tuple(range(len(options)))) == (len(options) > 1)
    assert reorder(options, target, seed=3) == found


class Two:
    """A task with a plain and a chat item."""

    name = "two"
    metrics = (Metric("accuracy"),)

    def identity(self) -> dict[str, Any]:
        return {"name": "two"}

    @property
    def hash(self) -> str:
        return task_hash(self.identity())

    def items(self, limit: int | None = None) -> Iterable[Item]:
        shots = "Question: Is water wet?\nAnswer: yes\n\n"
        yield Item("plain", Choose(f"{shots}Question: {QUESTION}\nAnswer:", (" Paris", " Rome")), 0)
        chat = (Message("system", "Be brief."), Message("user", QUESTION))
        yield Item("chat", Generate(chat), "Paris")

    def grade(self, item: Item, reply: Any) -> Mapping[str, float]:
        return {"accuracy": 1.0}

    def aggregate(self, columns: Any) -> Mapping[str, float]:
        return {}


def test_a_perturbed_task_changes_the_question_alone() -> None:
    task = Perturbed(Two(), "upper")
    assert isinstance(task, Task)
    plain, chat = task.items()
    assert isinstance(plain.request, Choose) and isinstance(chat.request, Generate)
    assert plain.request.context == (
        f"Question: Is water wet?\nAnswer: yes\n\nQUESTION: {QUESTION.upper()}\nAnswer:"
    ) and plain.request.options == (" Paris", " Rome")
    assert [m.content for m in chat.request.messages] == ["Be brief.", QUESTION.upper()]
    assert plain.target == 0 and task.grade(plain, None) == {"accuracy": 1.0} and task.name == "two+upper"  # type: ignore[arg-type]
    assert len({task.hash, Two().hash, Perturbed(Two(), "upper", 1).hash, Perturbed(Two(), "lower").hash}) == 4
    assert task.request(Roll("ab")) == Roll("AB") and task.request(Search("ab", 3, "c")) == Search("AB", 3, "c")
    with pytest.raises(NotFound):
        Perturbed(Two(), "uper")


def test_the_change_is_paired_and_counts_flips() -> None:
    plain = np.array([1.0] * 60 + [0.0] * 40)
    perturbed = plain.copy()
    perturbed[:10] = 0.0
    perturbed[95:] = 1.0
    found = change("typos", plain, perturbed)
    assert found.difference.estimate.value == pytest.approx(-0.05)
    assert found.flipped.value == 0.15 and found.flipped.n == 100
    assert "typos: -0.05" in str(found)
    same = change("none", plain, plain)
    assert same.flipped.value == 0 and not same.difference.clear
    with pytest.raises(BadInput, match="same items"):
        change("x", plain, plain[:5])
