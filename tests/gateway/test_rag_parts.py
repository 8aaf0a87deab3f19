"""The parts of the RAG program alone: packing, rewriting, claims, and the probe."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Message, Passage
from idiolect.core.errors import ContextOverflow
from idiolect.gateway.rag import claims, probe, rewrite
from idiolect.gateway.rag.pack import estimate, pack
from idiolect.retrieval.tokenise import Tokeniser

TERMS = Tokeniser()


def passages(*sizes: int) -> list[Passage]:
    return [Passage(str(i), f"{i}.md", "word " * (n // 5), (0, n // 5 * 5)) for i, n in enumerate(sizes)]


# -------------------------------------------------------------------------------------------------------- pack


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 6000), max_size=8),
    st.lists(st.integers(0, 3000), max_size=6),
    st.integers(0, 4000),
    st.integers(64, 3000),
)
def test_the_budget_is_never_exceeded_and_nothing_is_lost_in_silence(
    sizes: list[int], turns: list[int], budget: int, passage_budget: int
) -> None:
    found = passages(*sizes)
    history = [Message("user" if i % 2 == 0 else "assistant", "t " * (n // 2)) for i, n in enumerate(turns)]
    if len(history) % 2:
        history.append(Message("assistant", "so it is"))
    messages = [*history, Message("user", "Why?")]
    try:
        packed = pack(
            "Why?", found, messages, count=estimate, budget=budget, passage_budget=passage_budget, length=3, expertise=3
        )
    except ContextOverflow:
        assert budget < 500  # the bare prompt; it never grows with passages or history
        return
    assert packed.tokens == estimate(packed.messages) <= budget
    whole = packed.passages == tuple(found) and len(packed.messages) >= 2 + sum(
        bool(m.content.strip()) for m in history
    )
    assert whole or packed.trimmed
    for i, passage in enumerate(packed.passages, start=1):
        assert passage.text == found[i - 1].text[: len(passage.text)]
        assert f"[{i}] " in packed.messages[-1].content
    assert packed.messages[0].role == "system" and packed.messages[-1].role == "user"


def test_the_users_system_text_is_kept() -> None:
    messages = [Message("system", "Answer in Welsh."), Message("user", "Why?")]
    packed = pack(
        "Why?", passages(50), messages, count=estimate, budget=2000, passage_budget=500, length=1, expertise=5
    )
    assert "Answer in Welsh." in packed.messages[0].content
    assert [m.role for m in packed.messages] == ["system", "user"]


# ----------------------------------------------------------------------------------------------------- rewrite


@pytest.mark.parametrize(
    ("turns", "query"),
    [
        (["Who was Nikola Tesla?"], "Who was Nikola Tesla?"),
        (["Who was Nikola Tesla?", "Where was he born?"], "Where was he born? (Nikola Tesla)"),
        (["Who was Nikola Tesla?", "And when?"], "And when? (Nikola Tesla)"),
        (["Who was Nikola Tesla?", "Where was he born?", "Why?"], "Why? (born Nikola Tesla)"),
        (["Who was Nikola Tesla?", "Which bridge in Kelder carries trains?"], "Which bridge in Kelder carries trains?"),
        (["Who was Nikola Tesla?", "How many rivers are there in Wales?"], "How many rivers are there in Wales?"),
    ],
)
def test_only_questions_that_lean_on_the_conversation_are_changed(turns: list[str], query: str) -> None:
    messages = [m for turn in turns for m in (Message("user", turn), Message("assistant", "Tomatoes. [1]"))][:-1]
    assert rewrite.standalone(messages, TERMS) == (query, query != turns[-1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=5))
def test_a_rewrite_keeps_the_question_and_adds_only_the_users_words(turns: list[str]) -> None:
    query, added = rewrite.standalone([Message("user", turn) for turn in turns], TERMS)
    assert query.startswith(turns[-1])
    assert added == (query != turns[-1])
    assert all(word in " ".join(turns) for word in query[len(turns[-1]) :].strip(" ()").split())


def test_a_models_rewrite_is_taken_only_when_it_looks_like_a_question() -> None:
    assert rewrite.acceptable(" Where was Tesla born? \n") == "Where was Tesla born?"
    for bad in ("", "?", "He was born\nin Smiljan?", "x" * 500 + "?", "Smiljan"):
        assert rewrite.acceptable(bad) is None


# ------------------------------------------------------------------------------------------------------ claims


def test_marks_belong_to_the_sentence_before_them() -> None:
    text = "The bridge is old. [1] It has arches [2, 3]. And rails.[2]\n\n- A list item [1]\n\n# Heading\n"
    found = claims.claims(text)
    assert [text[a:b] for a, b in (c.span for c in found)] == [c.text for c in found]
    assert [c.numbers for c in found] == [(1,), (2, 3), (2,), (1,)]
    assert found[0].text == "The bridge is old. [1]"


@settings(max_examples=80, deadline=None)
@given(st.text(st.sampled_from("ab .[]12,\n#-【】A"), max_size=120))
def test_claims_are_verbatim_and_in_order(text: str) -> None:
    end = 0
    for claim in claims.claims(text):
        assert text[claim.span[0] : claim.span[1]] == claim.text
        assert claim.span[0] >= end
        end = claim.span[1]


# ------------------------------------------------------------------------------------------------------- probe


def test_the_probe_passes_a_reader_and_fails_the_rest() -> None:
    tasks = probe.tasks()
    assert len(tasks) == 20
    for task in tasks:
        joined = " ".join(task["passages"])
        assert any(word in joined for word in task["answer"])
        assert any(word in joined for word in task["wrong"])
    reader = probe.judge([f"It is {task['answer'][0]}. [2]" for task in tasks])
    parrot = probe.judge([" ".join(task["passages"]) for task in tasks])
    mute = probe.judge(["[1]" for _ in tasks])
    assert (reader.right, reader.passed) == (20, True)
    assert (parrot.right, parrot.passed) == (0, False)
    assert (mute.right, mute.passed) == (0, False)
    assert not probe.Probe(18, 20).passed and probe.Probe(19, 20).passed


def test_the_probe_runs_once_for_each_model(tmp_path: Path) -> None:
    asked = []

    def answer(conversations: object) -> list[str]:
        asked.append(conversations)
        return [""] * 20

    first = probe.measured("weights", answer, tmp_path)
    assert probe.measured("weights", answer, tmp_path) == first == probe.Probe(0, 20)
    assert len(asked) == 1
    probe.measured("other weights", answer, tmp_path)
    assert len(asked) == 2
    for file in tmp_path.iterdir():
        file.write_text("{")  # half a file
    assert probe.measured("weights", answer, tmp_path) == first
    assert len(asked) == 3


def test_the_interval_holds_the_proportion() -> None:
    for right in range(21):
        found = probe.Probe(right, 20)
        low, high = found.low, found.high
        assert 0 <= low <= right / 20 + 1e-12 and right / 20 - 1e-12 <= high <= 1 + 1e-12
