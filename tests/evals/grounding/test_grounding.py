"""Grounding with checks whose verdicts are known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.grounding import (
    Cited,
    Claim,
    Facts,
    JudgedCheck,
    Sourced,
    Statement,
    citations,
    facts,
    rule,
    triad,
)
from idiolect.evals.grounding.citations import summary as cited_summary
from idiolect.evals.grounding.safe import items
from idiolect.evals.grounding.safe import summary as facts_summary
from tests.evals.judges.programs import between, judge


def letters(statement: str, passages: Sequence[str]) -> bool:
    """A statement is supported when the passages have all its letters."""
    return set(statement) <= set("".join(passages))


def cited(*claims: tuple[str, tuple[int, ...]], passages: Sequence[str]) -> Cited:
    made = [Claim(sentence, numbers) for sentence, numbers in claims]
    return asyncio.run(citations([(made, passages)], rule(letters)))[0]


def test_citations_by_hand() -> None:
    passages = ["ab", "c", "xyz"]
    assert cited(("ab", (1,)), passages=passages) == Cited(1.0, 1.0, 1, 1, 0)
    assert cited(("ab", (2,)), passages=passages) == Cited(0.0, 0.0, 1, 1, 0)
    assert cited(("abc", (1, 2)), passages=passages) == Cited(1.0, 1.0, 1, 2, 0)  # both are needed
    assert cited(("ab", (1, 3)), passages=passages) == Cited(1.0, 0.5, 1, 2, 0)  # the second adds nothing
    assert cited(("ab", (1, 9)), passages=passages) == Cited(1.0, 0.5, 1, 2, 1)  # and points nowhere
    none = cited(("ab", ()), ("c", (2,)), passages=passages)
    assert none == Cited(0.5, 1.0, 2, 1, 0) and none.f1 == pytest.approx(2 / 3)
    bare = cited(("ab", ()), passages=passages)
    assert bare.recall == 0 and math.isnan(bare.precision) and bare.f1 == 0
    recall, precision = cited_summary([none, bare])
    assert recall.value == 0.25 and precision.value == 1 and precision.unscored == 1


CLAIMS = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=3), st.lists(st.integers(0, 4), max_size=3)), max_size=4
)


@given(CLAIMS, st.lists(st.text("abc", max_size=3), min_size=1, max_size=3))
def test_citation_figures_are_bounded_and_repeats_change_nothing(
    rows: list[tuple[str, list[int]]], passages: list[str]
) -> None:
    claims = [Claim(s, tuple(n)) for s, n in rows]
    twice = [Claim(c.sentence, c.numbers * 2) for c in claims]
    one, two = asyncio.run(citations([(claims, passages), (twice, passages)], rule(letters)))
    assert (one.citations, one.broken, one.sentences) == (two.citations, two.broken, len(rows))
    for a, b in ((one.recall, two.recall), (one.precision, two.precision)):
        assert (math.isnan(a) and math.isnan(b)) or (a == b and 0 <= a <= 1)
    nothing = asyncio.run(citations([(claims, passages)], rule(lambda s, p: False)))[0]
    assert nothing.precision == 0 or not nothing.citations


def test_list_items_are_read_and_nothing_else() -> None:
    assert items("Here:\n- one\n* two \n3. three\n-\nfour") == ["one", "two", "three"]
    assert items("-") == []


ANSWER = "Marie was born in Warsaw. She won two prizes."


def splitter(message: str) -> str:
    """Splits at "and", puts the name for "She", as a model would."""
    if "Statement:" in message:
        return message.rsplit("Statement:\n", 1)[1].replace("She", "Marie")
    return "\n".join(f"- {part.strip()}" for part in message.split(" and "))


def test_statements_stand_alone_and_are_checked_one_by_one() -> None:
    asked = []

    def check(statement: str, passages: Sequence[str]) -> bool:
        asked.append((statement, tuple(passages)))
        return "Warsaw" in statement

    async def find(statement: str) -> Sequence[str]:
        return [f"about {statement}"]

    own = judge(splitter)
    found = asyncio.run(facts(own, "Who?", ANSWER, rule(check), find))
    assert [s.alone for s in found.statements] == ["Marie was born in Warsaw.", "Marie won two prizes."]
    assert [s.sentence for s in found.statements] == ["Marie was born in Warsaw.", "She won two prizes."]
    assert asked[1] == ("Marie won two prizes.", ("about Marie won two prizes.",))
    assert found.precision == 0.5
    assert found.f1(1) == pytest.approx(2 * 0.5 * 1 / 1.5) and found.f1(4) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    shown = str(facts_summary([found], own, rule(check)))
    assert "0.5" in shown and "program (splitting)" in shown
    with pytest.raises(BadInput, match="at least 1"):
        found.f1(0)


@given(st.lists(st.sampled_from([True, False, None]), max_size=8), st.integers(1, 10))
def test_f1_at_k_lies_between_and_grows_with_support(held: list[bool | None], k: int) -> None:
    def made(values: Sequence[bool | None]) -> Facts:
        return Facts(tuple(Statement("s", "f", "a", v) for v in values))

    assert 0 <= made(held).f1(k) <= 1
    assert made([*held, True]).f1(k) >= made(held).f1(k) - 1e-12
    assert made([True] * k).f1(k) == 1


def scorer(message: str) -> Mapping[str, float] | str:
    if "Passage:" in message:
        return "3" if "Warsaw" in between(message, "Passage:", "Write") else "0"
    if "Statement:" in message:
        return {"S": 0.9, "N": 0.1} if "Warsaw" in between(message, "Statement:", "Write") else "hm"
    return "2"


def test_the_triad_says_where_it_fails() -> None:
    rows = [
        Sourced("Where?", ("Marie was born in Warsaw.", "Bread recipe."), ANSWER),
        Sourced("Where?", ("Bread recipe.",), "It was Warsaw."),
    ]
    found = asyncio.run(triad(judge(scorer), rows))
    plain: Any = {name: getattr(found, name).to_dict() for name in ("context", "groundedness", "answer")}
    assert plain["context"]["value"]["value"] == pytest.approx(0.25)
    assert plain["groundedness"]["value"]["value"] == 1  # what could not be read is left out, and counted
    assert plain["groundedness"]["validity"][0]["unparsable"] == 1
    assert plain["answer"]["value"]["value"] == pytest.approx(2 / 3)
    assert str(found).count("judge program") == 3
    by_rule = asyncio.run(triad(judge(scorer), rows, rule(lambda s, p: s in p)))
    assert by_rule.groundedness.to_dict()["value"]["value"] == 0.25 and "a rule" in str(by_rule.groundedness)
    with pytest.raises(BadInput, match="no answer"):
        asyncio.run(triad(judge(scorer), []))


def test_a_judged_check_remembers_what_it_could_not_read() -> None:
    check = JudgedCheck(judge(scorer))
    assert asyncio.run(check([("In Warsaw.", ["x"]), ("Elsewhere.", ["x"])])) == [True, None]
    assert (check.validity.n, check.validity.unparsable, check.validity.from_logprobs) == (2, 1, 1)


def test_the_product_s_own_check_fits() -> None:
    """`retrieval.support` stands above and is passed in."""
    from idiolect.core.call import Passage
    from idiolect.retrieval.support import supported

    def check(statement: str, passages: Sequence[str]) -> bool:
        return supported(statement, [Passage(str(i), "d", t, (0, len(t))) for i, t in enumerate(passages)]).supported

    passages = ["The tenant pays the rent on the first of each month.", "Cats are not allowed."]
    made = [Claim("The tenant pays the rent on the first.", (1,)), Claim("Dogs are allowed.", (2,))]
    found = asyncio.run(citations([(made, passages)], rule(check)))[0]
    assert found.recall == 0.5 and found.precision == 0.5
