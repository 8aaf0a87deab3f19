"""Classes, rankings and loads, against scikit-learn and trec_eval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.core.plan import machine
from idiolect.evals.metrics import (
    Distribution,
    Slo,
    accuracy,
    average_precision,
    confusion,
    false_refusal_rate,
    goodput,
    latency,
    macro_f1,
    ndcg_at_k,
    percentile,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
    throughput,
    violation_rate,
)


def test_classes_equal_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true = rng.choice(["ham", "spam", "eggs", "rare"], 300, p=[0.6, 0.3, 0.09, 0.01]).tolist()
    said = [t if rng.random() < 0.7 else str(rng.choice(["ham", "spam", "other"])) for t in true]
    assert accuracy(said, true) == pytest.approx(metrics.accuracy_score(true, said))
    assert macro_f1(said, true) == pytest.approx(metrics.f1_score(true, said, average="macro", zero_division=0))
    wanted = sorted(set(true))  # what was said and never true ("other") is no class of its own
    theirs = metrics.f1_score(true, said, average="macro", labels=wanted, zero_division=0)
    assert macro_f1(said, true, among=wanted) == pytest.approx(theirs) != macro_f1(said, true)
    found = confusion(said, true)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(true, said, zero_division=0)
    assert found.precision == pytest.approx(precision) and found.recall == pytest.approx(recall)
    assert found.f1 == pytest.approx(f1)
    assert (found.counts == metrics.confusion_matrix(true, said)).all()
    with pytest.raises(BadInput, match="one answer for each"):
        accuracy([], [])


LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(LABELS)
def test_naming_the_classes_otherwise_changes_nothing(rows: list[tuple[int, int]]) -> None:
    said, true = [r[0] for r in rows], [r[1] for r in rows]
    renamed = {0: "x", 1: "b", 2: "q", 3: "a"}
    assert macro_f1([renamed[s] for s in said], [renamed[t] for t in true]) == pytest.approx(macro_f1(said, true))
    assert macro_f1(said, true) == pytest.approx(macro_f1(true, said))
    assert accuracy(true, true) == macro_f1(true, true) == 1.0


def test_rankings_equal_trec_eval_s() -> None:
    trec = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(1)
    names = [f"d{i:02d}" for i in range(40)]
    for graded in (False, True):
        judged, run, rankings = {}, {}, {}
        for q in range(30):
            chosen = rng.choice(names, rng.integers(1, 15), replace=False).tolist()
            judged[str(q)] = {d: int(rng.integers(0, 4)) if graded else 1 for d in chosen} | {"never": 1}
            order = rng.permutation(names)[: rng.integers(1, 40)].tolist()
            rankings[str(q)] = order
            run[str(q)] = {d: float(len(order) - i) for i, d in enumerate(order)}
        scores = trec.RelevanceEvaluator(judged, {"P.5", "recall.10", "recip_rank", "map", "ndcg_cut.10"}).evaluate(run)
        for q, theirs in scores.items():
            ranking, relevant = rankings[q], judged[q] if graded else set(judged[q])
            assert precision_at_k(ranking, relevant, 5) == pytest.approx(theirs["P_5"])
            assert recall_at_k(ranking, relevant, 10) == pytest.approx(theirs["recall_10"])
            assert reciprocal_rank(ranking, relevant) == pytest.approx(theirs["recip_rank"])
            assert average_precision(ranking, relevant) == pytest.approx(theirs["map"])
            assert ndcg_at_k(ranking, relevant, 10) == pytest.approx(theirs["ndcg_cut_10"])


@given(st.permutations(list("abcdefgh")), st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 8))
def test_rankings_are_bounded_and_best_first_is_best(ranking: list[str], relevant: set[str], k: int) -> None:
    best = sorted(ranking, key=lambda name: name not in relevant)
    for score in (precision_at_k, recall_at_k, ndcg_at_k, average_precision, reciprocal_rank):
        assert 0 <= score(ranking, relevant, k) <= score(best, relevant, k) <= 1 + 1e-12
    assert ndcg_at_k(best, relevant, k) == pytest.approx(1)
    assert average_precision(best, relevant) == pytest.approx(1)
    assert recall_at_k(ranking, relevant, 8) == 1
    assert precision_at_k(ranking, relevant, k) * k == pytest.approx(recall_at_k(ranking, relevant, k) * len(relevant))


def test_a_query_without_a_relevant_document_has_no_score() -> None:
    for score in (precision_at_k, recall_at_k, ndcg_at_k, average_precision, reciprocal_rank):
        assert math.isnan(score(["a"], set())) and math.isnan(score(["a"], {"a": 0.0}))
        assert score([], {"a"}) == 0.0


@dataclass
class Answer:
    ttft: float | None
    itl: float | None
    error: str = ""


def test_goodput_counts_what_met_the_objective() -> None:
    answers = [Answer(0.4, 0.04), Answer(0.6, 0.04), Answer(0.4, 0.06), Answer(0.1, 0.01, "lost"), Answer(0.5, None)]
    assert goodput(answers, 2.0, Slo(0.5, 0.05)) == 1.0
    assert throughput(len(answers), 2.0) == 2.5
    assert goodput(answers, 2.0, Slo(1.0, 1.0)) == 2.0 <= throughput(4, 2.0)


def test_latencies() -> None:
    values = [float(i) for i in range(101)]
    assert [percentile(values, q) for q in (0, 50, 99, 100)] == [0, 50, 99, 100]
    found = Distribution.of(values[::-1])
    assert found == Distribution(0, 50, 90, 99, 100, 101)
    assert Distribution.of([]) is None
    assert latency(0.2, 0.05, 100) == machine.latency(0.2, 0.05, 100) == pytest.approx(5.2)


def test_a_defence_has_two_figures() -> None:
    assert violation_rate([True, False, False, False]).value == 0.25
    found = false_refusal_rate([False] * 20)
    assert found.value == 0 and 0.1 < found.high < 0.2 and found.n == 20
