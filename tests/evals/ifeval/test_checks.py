"""Every instruction: a response that follows it, and one that just does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, NotFound
from idiolect.evals.ifeval import INSTRUCTIONS, follows, verdict, versions
from idiolect.evals.ifeval.counting import capital_words, sentences, words

LONG = "This is an ordinary English sentence about the weather in the mountains. "

# instruction, arguments, a response that follows, a response that does not
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["Rain", "sun"]}, "rain and SUNshine", "rain only"),
    ("keywords:frequency", {"keyword": "a.b", "frequency": 2, "relation": "at least"}, "a.b A.B", "a.b axb"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks are fine", "a Rock."),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "less than"}, "# one", "# #"),
    ("language:response_language", {"language": "de"}, "Das ist ein Satz in deutscher Sprache.", LONG),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", "don't go"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two.", "One, two."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb", "a\n***\n\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        'First this.\n\n"Then, that.',
        "First this.\n\nNow that.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b c]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP. P. S one more", "Bye.\nP.S. one"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n** two\n+ three"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and * *"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 a Day2 b", "Day one"),
    ("detectable_format:title", {}, "<<a poem>>\nText", "<< >>\nText"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', 'Here: {"a": 1}'),
    ("detectable_format:constrained_response", {}, "Well: My answer is maybe.", "My answer is perhaps."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}, "write a POEM. Roses", "Roses. Write a poem."),
    ("combination:two_responses", {}, "one\n******\ntwo", "same\n******\nsame"),
    ("change_case:english_capital", {}, LONG.upper(), LONG),
    ("change_case:english_lowercase", {}, LONG.lower(), LONG),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA AND",
        "NASA and",
    ),
    ("startend:end_checker", {"end_phrase": "The end."}, '"So it was. the END."', "The end. Or not"),
    ("startend:quotation", {}, ' "all of it" ', '"'),
    ("punctuation:no_comma", {}, "none; at all", "one, here"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES, ids=[c[0] for c in CASES])
def test_followed_and_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert follows(name, good, arguments)
    assert not follows(name, bad, arguments)
    assert not follows(name, " \n", arguments)


def test_all_25_are_here() -> None:
    assert len(INSTRUCTIONS) == 25
    assert {case[0] for case in CASES} == set(INSTRUCTIONS)


def test_relations_are_opposites() -> None:
    for n in range(5):
        more = follows("length_constraints:number_words", "a b c", {"num_words": n, "relation": "at least"})
        fewer = follows("length_constraints:number_words", "a b c", {"num_words": n, "relation": "less than"})
        assert more != fewer


def test_wrong_arguments_are_one_clear_error() -> None:
    with pytest.raises(NotFound, match="keywords:existance"):
        follows("keywords:existance", "x", {})
    with pytest.raises(BadInput, match="keywords"):
        follows("keywords:existence", "x", {"keyword": "x"})
    with pytest.raises(BadInput, match="relation"):
        follows("length_constraints:number_words", "x", {"num_words": 1, "relation": "about"})


def test_absent_arguments_may_be_none() -> None:
    assert follows("punctuation:no_comma", "x", {"num_words": None, "relation": None})


def test_counting() -> None:
    assert words("don't stop, 2 of_them") == 5
    assert sentences("Dr. Smith paid $3.5 million. Really? Yes!") == 3
    assert capital_words("NASA-LED TEAMS at IT'S BEST (OK) A/B no") == 6 + 1  # the clitic 'S counts as the reference's
    assert follows("language:response_language", "1 2 3", {"language": "de"})  # nothing to tell by


@settings(deadline=None)
@given(st.text(max_size=60))
def test_loose_never_refuses_what_strict_accepts(response: str) -> None:
    names = ["punctuation:no_comma", "startend:quotation", "combination:two_responses", "detectable_format:title"]
    found = verdict(response, names, [{}] * len(names))
    assert all(loose for strict, loose in zip(found.strict, found.loose, strict=True) if strict)
    assert found.all_strict <= found.all_loose
    assert versions(response)[0] == response


def test_loose_forgives_the_wrapping() -> None:
    wrapped = 'Sure, here you are:\n"**quoted**"\nI hope that helps, dear user.'
    found = verdict(wrapped, ["startend:quotation", "punctuation:no_comma"], [{}, {}])
    assert found.strict == (False, False)
    assert found.loose == (True, True)
    assert not found.all_strict and found.all_loose
