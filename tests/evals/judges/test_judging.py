"""Reading verdicts, and judging with judges whose preferences are planted and must be found again."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.call import Choice, Completion, TokenInfo
from idiolect.core.errors import BadInput
from idiolect.evals.judges import Answered, Pair, Rubric, bias, pairwise, pointwise, standing
from idiolect.evals.judges.pairwise import LABELS, points, said
from idiolect.evals.judges.read import Verdict, find, read, scores
from tests.evals.judges.programs import Program, judge, prefers

DIGITS = {str(i): float(i) for i in range(1, 6)}


def value(judged: Any) -> Any:
    """The plain data of a judged value, for comparisons here."""
    return judged.to_dict()["value"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("4", "4"),
        (" 4\n", "4"),
        ("**4**", "4"),
        ("4/5", "4"),
        ("4 out of 5", "4"),
        ("On a scale from 1 to 5: Score: 3", "3"),
        ("Score: 2. No, wait. Score: 3.", "3"),
        ("The rating is 5", "5"),
        ("4.5", None),
        ("2 or 3", None),
        ("12", None),
        ("very good", None),
        ("", None),
    ],
)
def test_scores_are_read_or_left_alone(text: str, label: str | None) -> None:
    at = find(text, DIGITS)
    assert (None if at is None else text[at]) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A", "A"),
        ("[[B]]", "B"),
        ("Answer B is better.", "B"),
        ("Verdict: C", "C"),
        ("A beats B", None),
        ("Answer A is worse than answer B", None),
        ("a tie", None),
        ("I'd say the answer is **A**, since B is wrong.", "A"),
    ],
)
def test_letters_are_read_or_left_alone(text: str, label: str | None) -> None:
    at = find(text, LABELS)
    assert (None if at is None else text[at]) == label


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5), st.floats(0, 0.4))
def test_a_score_is_the_expectation_over_the_score_tokens(weights: list[float], rest: float) -> None:
    p = np.array(weights) / sum(weights) * (1 - rest)
    top = [(i, f" {i + 1}" if i % 2 else str(i + 1), math.log(x)) for i, x in enumerate(p.tolist())]
    top += [(9, "the", math.log(rest))] if rest else []
    best = max(top[:5], key=lambda t: t[2])
    token = TokenInfo(best[0], best[1], best[2], tuple(top))
    done = Completion(choices=[Choice(0, "Score:" + best[1], [TokenInfo(7, "Score:"), token])])
    found = read(done, DIGITS)
    assert found.mass == pytest.approx(1 - rest)
    assert scores([found])[0] == pytest.approx(float((p * np.arange(1, 6)).sum() / p.sum()))
    assert "_score" not in repr(found)


def test_without_log_probabilities_or_with_little_mass_the_text_counts() -> None:
    assert scores([read(Completion(choices=[Choice(0, "4")]), DIGITS)])[0] == 4
    thin = TokenInfo(1, "4", -1.0, ((1, "4", -1.0), (2, "5", -5.0)))
    found = read(Completion(choices=[Choice(0, "4", [thin])]), DIGITS)
    assert scores([found])[0] == 4 and found.mass == 0
    nothing = read(Completion(choices=[Choice(0, "hm")]), DIGITS)
    assert not nothing.parsed and np.isnan(scores([nothing])[0])
    with pytest.raises(BadInput, match="single characters"):
        read(Completion(), {"10": 10.0})


def test_pointwise_against_labels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 60).tolist()
    answers = [Answered("q", f"worth {t}. {i}", "ref" if i % 2 else None) for i, t in enumerate(truth)]

    def rule(message: str) -> str:
        assert ("Reference answer" in message) == ("\nref\n" in message)
        at = message.index("worth ") + 6
        return "no idea" if message[at + 3 :].startswith("7\n") else message[at]

    found = asyncio.run(pointwise(judge(rule), answers, Rubric("worth"), labels=truth))
    assert found.validity.unparsable == 1 and found.validity.n == 60 and found.validity.from_logprobs == 0
    assert found.validity.agreement is not None and found.validity.agreement.kappa.value == 1
    assert value(found.mean)["value"] == pytest.approx(np.delete(truth, 7).mean())
    worse = asyncio.run(pointwise(judge(lambda m: "1"), answers, Rubric("worth"), labels=truth))
    assert worse.validity.agreement is not None and worse.validity.agreement.kappa.value == pytest.approx(0, abs=0.01)
    gap = value(found.minus(worse))
    assert gap["estimate"]["low"] > 0 and "judge program" in str(found.minus(worse))


def test_a_judge_that_says_nothing_gives_no_figure_and_says_so() -> None:
    found = asyncio.run(pointwise(judge(lambda m: "I like both."), [Answered("q", "a")], Rubric("x")))
    assert math.isnan(value(found.mean)["value"]) and "1 of 1 unparsable" in str(found.mean)
    compared = asyncio.run(pairwise(judge(lambda m: "I like both."), pairs(3)[0], "x"))
    assert math.isnan(value(compared.win_rate)["value"]) and "6 of 6 unparsable" in str(bias.position(compared))


def test_the_same_question_is_asked_once() -> None:
    program = Program(lambda m: "3")
    from idiolect.evals.judges import Judge

    asyncio.run(pointwise(Judge(program, "m"), [Answered("q", "a")] * 5, Rubric("x")))
    assert program.calls == 1


def pairs(n: int, seed: int = 0) -> tuple[list[Pair], list[float]]:
    """Answers "q=<quality> xxx" of random quality and length."""
    rng = np.random.default_rng(seed)
    made, gaps = [], []
    for i in range(n):
        u, v = rng.normal(size=2)
        a, b = (f"q={w:.3f} " + "x" * int(rng.integers(1, 60)) for w in (u, v))
        made.append(Pair(f"question {i}", a, b, "left", "right"))
        gaps.append(float(u - v))
    return made, gaps


def quality(text: str) -> float:
    return 3 * float(text.split("=")[1].split(maxsplit=1)[0])


def test_a_fair_judge_is_consistent_and_finds_the_better() -> None:
    made, gaps = pairs(80)
    labels: list[Any] = ["a" if g > 0 else "b" for g in gaps]
    found = asyncio.run(pairwise(judge(prefers(quality)), made, "quality", labels=labels))
    assert found.validity.consistency is not None and found.validity.consistency.value == 1
    assert found.validity.agreement is not None and found.validity.agreement.kappa.value == 1
    assert found.validity.from_logprobs == found.validity.n == 160
    assert points(found.forward, found.backward).tolist() == [float(g > 0) for g in gaps]
    assert value(found.win_rate)["value"] == np.mean([g > 0 for g in gaps])
    assert value(bias.position(found))["value"] == 0.5
    assert abs(value(bias.length(found, labels))["estimate"]["value"]) < 1e-12


def test_a_judge_of_places_wins_nothing() -> None:
    made, _ = pairs(30)
    found = asyncio.run(pairwise(judge(lambda m: "A"), made, "quality"))
    assert found.validity.consistency is not None and found.validity.consistency.value == 0
    assert value(found.win_rate)["value"] == 0.5
    assert value(bias.position(found))["value"] == 1
    half = asyncio.run(pairwise(judge(prefers(quality, first=2.0)), made, "quality"))
    assert 0.5 < value(bias.position(half))["value"] < 1
    assert half.validity.consistency is not None and 0 < half.validity.consistency.value < 1


def test_a_taste_for_length_is_found() -> None:
    made, gaps = pairs(150)
    labels: list[Any] = ["a" if g > 0 else "b" for g in gaps]
    found = asyncio.run(pairwise(judge(prefers(quality, longer=6.0)), made, "quality", labels=labels))
    assert value(bias.length(found, labels))["estimate"]["low"] > 0
    assert value(bias.length(found))["value"] > 0.6
    with pytest.raises(BadInput, match="differs in length"):
        bias.length(found, least=1e9)
    rubric = Rubric("worth")
    answers = [Answered("q", "x" * i) for i in range(1, 80)]
    by_length = asyncio.run(pointwise(judge(lambda m: str(min(5, 1 + m.count("x") // 20))), answers, rubric))
    assert value(bias.length_correlation(by_length, [a.answer for a in answers]))["low"] > 0.5


def test_a_judge_that_prefers_its_own() -> None:
    made, _ = pairs(120)
    signed = [Pair(p.question, p.a + " mine", p.b, "self", "other") for p in made]
    fond = judge(prefers(lambda t: quality(t) + 2 * t.endswith("mine")), "self")
    one = asyncio.run(pairwise(fond, signed, "quality"))
    two = asyncio.run(pairwise(judge(prefers(quality), "other"), signed, "quality"))
    found = bias.self_preference(one, two, "self")
    assert value(found)["estimate"]["low"] > 0 and {v.judge for v in found.validity} == {"self", "other"}
    assert value(bias.self_preference(two, two, "self"))["estimate"]["value"] == 0
    with pytest.raises(BadInput, match="wrote none"):
        bias.self_preference(one, two, "nobody")


def test_pairs_become_a_ranking_with_its_validity() -> None:
    strengths = {"strong": 1.0, "middle": 0.0, "weak": -1.0}
    rng = np.random.default_rng(5)
    made = []
    for a, b in (("strong", "middle"), ("middle", "weak"), ("strong", "weak")):
        for i in range(25):
            texts = [f"q={strengths[n] + rng.normal() / 2:.3f} x" for n in (a, b)]
            made.append(Pair(f"{a} {b} {i}", *texts, a, b))
    found = asyncio.run(pairwise(judge(prefers(quality)), made, "quality"))
    ranked = standing(found, draws=3)
    assert [r["name"] for r in value(ranked)["ranking"]["rows"]] == list(strengths)
    assert "unparsable" in str(ranked) and "0 of 1 triples" in str(ranked)


@given(st.sampled_from("ABC"), st.sampled_from("ABC"))
def test_swapping_both_answers_and_orders_mirrors_the_points(x: str, y: str) -> None:
    one, two = (Verdict(LABELS[c], c, 0.0, c) for c in (x, y))
    assert points([one], [two])[0] == 1 - points([two], [one])[0]
    assert said(one) in ("a", "b", "tie")


def test_bad_rubrics_and_labels() -> None:
    with pytest.raises(BadInput, match="0 to 9"):
        Rubric("x", 1, 10)
    with pytest.raises(BadInput, match="labels"):
        asyncio.run(pairwise(judge(lambda m: "A"), pairs(2)[0], "x", labels=["a"]))
    with pytest.raises(BadInput, match="no answer"):
        asyncio.run(pointwise(judge(lambda m: "1"), [], Rubric("x")))


async def test_a_real_model_as_judge(smol: Any) -> None:
    """The embedded model gives log-probabilities; whether it is any good shows in its validity."""
    from idiolect.engine import Engine, EngineConfig
    from idiolect.evals.judges import Judge
    from idiolect.gateway.local import LocalModel

    engine = Engine(smol, EngineConfig())
    engine.start()
    try:
        own = Judge(LocalModel(smol, engine), smol.id, "smol")
        made = [
            Pair("What is the capital of France?", "Paris.", "Bananas are yellow.", "x", "y"),
            Pair("What is 2 + 2?", "It is 4.", "I like trains.", "x", "y"),
        ]
        found = await pairwise(own, made, "the answer is right")
        assert found.validity.n == 4 and found.validity.judge == "smol"
        rated = await pointwise(own, [Answered("What is 2 + 2?", "4")], Rubric("the answer is right"))
        assert rated.validity.from_logprobs + rated.validity.unparsable == 1  # read, it was from log-probabilities
    finally:
        engine.close()
