"""Answers beside references: exact match, F1, edits, BLEU, chrF, ROUGE, embeddings, against who defined them."""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.metrics import (
    bleu,
    bleu_interval,
    chrf,
    edit_distance,
    edit_similarity,
    embedding_similarity,
    exact_match,
    normalise,
    rouge_l,
    rouge_n,
    sentence_chrf,
    token_f1,
    word_error_rate,
)
from idiolect.evals.metrics.bleu import of_parts, parts

WORDS = st.lists(
    st.sampled_from(["the", "a", "cat", "cats", "sat", "Sat.", "on", "mat", "two-fold", "3.5"]), max_size=9
)
SENTENCE = WORDS.map(" ".join)
SAID = [
    "The cat sat on the mat.",
    "It is a guide to action which ensures that the military always obeys the commands of the party.",
    "Two of the three engines failed, and the pilot landed in a field.",
    "colourless green ideas sleep furiously",
    "",
]
WANTED = [
    "A cat was sitting on the mat.",
    "It is a guide to action that ensures that the military will forever heed Party commands.",
    "After two engines had failed the pilot landed in a field.",
    "Colorless green ideas sleep furiously.",
    "Nothing was said.",
]


@pytest.mark.parametrize(
    ("said", "wanted", "score"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("1,000", "1000", 1.0),
        ("theatre", "atre", 0.0),  # an article is a word of its own
        ("New  York\n", ["London", "new york"], 1.0),
        ("", "the", 1.0),
        ("Paris", [], 0.0),
    ],
)
def test_exact_match_forgives_what_squad_forgives(said: str, wanted: Any, score: float) -> None:
    assert exact_match(said, wanted) == score


def test_exact_match_and_f1_equal_lm_evals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code for SQuAD-like answers. The module also imports what it needs for Chinese, which is left out here."""
    pytest.importorskip("lm_eval", reason="pip install lm-eval")
    for name, inside in (("jieba", ""), ("fuzzywuzzy", "fuzz"), ("rouge", "Rouge")):
        absent = ModuleType(name)
        setattr(absent, inside or "cut", None)
        monkeypatch.setitem(sys.modules, name, absent)
    theirs = importlib.import_module("lm_eval.tasks.longbench.metrics")
    texts = [
        *SAID[:-1],
        *WANTED,
        "The 3 cats.",
        "3 cats",
        "an apple; a day",
        "Apple day",
        "U.S.A.",
        "usa",
        "naïve Café",
    ]
    for said in texts:
        assert normalise(said) == theirs.normalize_answer(said)
        for wanted in texts:
            assert exact_match(said, wanted) == (theirs.normalize_answer(said) == theirs.normalize_answer(wanted))
            assert token_f1(said, wanted) == pytest.approx(theirs.qa_f1_score(said, wanted)), (said, wanted)


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert exact_match(text, once) == token_f1(text, once) == 1.0 or normalise(once) != once
    assert normalise(normalise(once)) == normalise(once) or "i̇" in once


@given(SENTENCE, SENTENCE)
def test_f1_is_symmetric_bounded_and_one_for_the_same_bag(a: str, b: str) -> None:
    assert token_f1(a, b) == token_f1(b, a)
    assert 0 <= token_f1(a, b) <= 1
    assert exact_match(a, b) <= token_f1(a, b)
    assert token_f1(" ".join(reversed(a.split())), a) == 1.0


def test_f1_by_hand_and_by_scikit_learn() -> None:
    assert token_f1("the cat sat down", "cat sat") == pytest.approx(2 * 2 / (3 + 2))
    metrics = pytest.importorskip("sklearn.metrics")
    words = ["red", "green", "blue", "black", "white"]
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.random(5) < 0.6, rng.random(5) < 0.6
        if a.any() and b.any():
            ours = token_f1(*(" ".join(w for w, on in zip(words, x, strict=True) if on) for x in (a, b)))
            assert ours == pytest.approx(metrics.f1_score(b, a))


def by_hand(a: Any, b: Any) -> int:
    """Wagner and Fischer's recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@given(st.text("abc é", max_size=9), st.text("abc é", max_size=9), st.text("abc é", max_size=9))
def test_edit_distance_is_the_recurrence_and_a_metric(a: str, b: str, c: str) -> None:
    pytest.importorskip("rapidfuzz")
    assert edit_distance(a, b) == by_hand(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert edit_similarity(a, b) == pytest.approx(1 - edit_distance(a, b) / max(len(a), len(b), 1))
    if b.split():
        assert word_error_rate(a, b) == by_hand(a.split(), b.split()) / len(b.split())


def test_a_word_error_rate_needs_words() -> None:
    pytest.importorskip("rapidfuzz")
    with pytest.raises(BadInput, match="no words"):
        word_error_rate("a", " ")


def test_bleu_and_chrf_equal_sacrebleus() -> None:
    library = pytest.importorskip("sacrebleu")
    assert bleu(SAID, WANTED) == pytest.approx(library.corpus_bleu(SAID, [WANTED]).score)
    assert chrf(SAID, WANTED) == pytest.approx(library.corpus_chrf(SAID, [WANTED]).score)
    assert chrf(SAID, WANTED, words=2) == pytest.approx(library.corpus_chrf(SAID, [WANTED], word_order=2).score)
    second = [s.upper() for s in WANTED]
    both = list(zip(WANTED, second, strict=True))
    assert bleu(SAID, both) == pytest.approx(library.corpus_bleu(SAID, [WANTED, second]).score)
    assert chrf(SAID, both) == pytest.approx(library.corpus_chrf(SAID, [WANTED, second]).score)
    assert sentence_chrf(SAID[0], WANTED[0]) == pytest.approx(library.sentence_chrf(SAID[0], [WANTED[0]]).score)


def test_bleu_s_parts_add_up_and_have_an_interval() -> None:
    pytest.importorskip("sacrebleu")
    rows = np.stack([parts(s, w) for s, w in zip(SAID, WANTED, strict=True)])
    assert rows.shape == (5, 10)
    assert of_parts(rows) == of_parts(rows.sum(0)) == bleu(SAID, WANTED)
    assert bleu(WANTED, WANTED) == pytest.approx(100)
    found = bleu_interval(np.concatenate([rows] * 4), draws=200)
    assert found.low <= found.value <= found.high and found.n == 20


def test_rouge_equals_rouge_score() -> None:
    pytest.importorskip("rapidfuzz")
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    texts = [*SAID, *WANTED, "a b a b c", "b a b a", "Ünïcode wörds 12,5"]
    for said, wanted in [*pairwise(texts), *zip(texts, reversed(texts), strict=True)]:
        theirs = scorer.score(wanted, said)
        for name, ours in (
            ("rouge1", rouge_n(said, wanted)),
            ("rouge2", rouge_n(said, wanted, 2)),
            ("rougeL", rouge_l(said, wanted)),
        ):
            assert ours == pytest.approx(tuple(theirs[name])), (said, wanted, name)


@given(SENTENCE, SENTENCE)
@settings(max_examples=50)
def test_rouge_swaps_precision_and_recall(a: str, b: str) -> None:
    pytest.importorskip("rapidfuzz")
    for score in (rouge_n, rouge_l):
        one, two = score(a, b), score(b, a)
        assert one.f1 == pytest.approx(two.f1) and one.precision == two.recall and 0 <= one.f1 <= 1
    assert rouge_l(a, b).recall <= rouge_n(a, b).recall + 1e-12
    assert rouge_n(a, [b, a]).f1 == rouge_n(a, a).f1


def test_similarity_is_the_cosine_whatever_the_length() -> None:
    rng = np.random.default_rng(1)
    vectors = {str(i): rng.normal(size=8) * (i + 1) for i in range(6)} | {"nothing": np.zeros(8)}

    def encoder(texts: Any) -> np.ndarray:
        return np.stack([vectors[t] for t in texts])

    a, b = ["0", "1", "2", "nothing"], ["3", "1", "5", "0"]
    found = embedding_similarity(a, b, encoder)
    assert found == pytest.approx(embedding_similarity(b, a, encoder))
    assert found[1] == pytest.approx(1) and found[3] == 0 and (abs(found) <= 1).all()
    pairwise_metrics = pytest.importorskip("sklearn.metrics.pairwise")
    theirs = pairwise_metrics.cosine_similarity(encoder(a), encoder(b)).diagonal()
    assert found == pytest.approx(theirs)
    with pytest.raises(BadInput, match="one reference each"):
        embedding_similarity(["0"], [], encoder)
