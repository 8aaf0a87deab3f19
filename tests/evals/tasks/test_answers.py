"""Answers in what models write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import NotFound
from idiolect.evals.tasks.answers import extract, number

CASES = [
    ("She has 16 - 3 - 4 = 9 eggs.\n9 * 2 = $18\n#### 18", "18"),
    ("#### 1,234", "1234"),
    ("#### $1,234.50 dollars", "1234.5"),
    ("#### -7", "-7"),
    ("#### 18\n\nQuestion: how many?\nAnswer: 3\n#### 5", "18"),  # it went on; the first is its answer
    ("The answer is 42.", "42"),
    ("The answer is 42, so 3 are left.", "42"),
    ("First the answer is 7? No. The final answer is: **12**", "12"),
    ("So there are 5 apples and 6 pears, 11 in all", "11"),
    ("costs $2.00", "2"),
    ("0.50 of it", "0.5"),
    ("about .5", "0.5"),
    ("007", "7"),
    ("no number here", None),
    ("", None),
    ("#### nothing\nThe answer is 3", "3"),
    ("1,000,000 people", "1000000"),
    ("in 1,23 there is a list of 1 and 23", "23"),
]


@pytest.mark.parametrize(("text", "want"), CASES)
def test_gsm8k(text: str, want: str | None) -> None:
    assert extract("gsm8k", text) == want


@given(st.integers(-(10**9), 10**9))
def test_numbers_in_any_spelling(value: int) -> None:
    for text in (f"{value}", f"{value:,}", f"{value}.0", f"the sum is {value} euros"):
        assert number(text) == str(value)
    if value >= 0:
        assert number(f"${value:,}") == str(value)


@pytest.mark.parametrize(
    ("text", "want"),
    [("B", "B"), ("B. because", "B"), ("(C)", "C"), ("The answer is (D).", "D"), ("**A**", "A"), ("I think so", None)],
)
def test_letters(text: str, want: str | None) -> None:
    assert extract("letter", text) == want


def test_the_others() -> None:
    assert extract("line", "\n  Rome \nParis") == "Rome"
    assert extract("word", " Positive, surely") == "positive"
    assert extract("all", " a b ") == "a b"
    assert extract("number", "1 then 2") == "2"
    assert extract("/= (\\w+)/", "x = yes") == "yes"
    assert extract("/\\d+/", "none") is None
    with pytest.raises(NotFound, match="number"):
        extract("numbr", "1")
