"""Figures made of probabilities: entropies, likelihoods, multiple choice, calibration, pass@k."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from idiolect.core.errors import BadInput
from idiolect.evals.metrics import (
    Likelihood,
    bits_per_byte,
    bits_per_character,
    bits_per_token,
    brier_score,
    calibration_error,
    choice_accuracy,
    choice_accuracy_bytes,
    choice_accuracy_length,
    cross_entropy,
    entropy,
    kl_divergence,
    logprob_per_word,
    margin,
    pass_at_k,
    perplexity,
    pick,
    probabilities,
    reliability,
)
from idiolect.evals.metrics.calibration import ascii_diagram
from idiolect.evals.metrics.likelihood import interval

POSITIVE = arrays(np.float64, 6, elements=st.floats(0.01, 1.0)).map(lambda x: x / x.sum())


@given(POSITIVE, POSITIVE)
def test_cross_entropy_is_entropy_and_divergence(p: np.ndarray, q: np.ndarray) -> None:
    assert cross_entropy(p, q) == pytest.approx(entropy(p) + kl_divergence(p, q))
    assert kl_divergence(p, q) >= 0 and kl_divergence(p, p) == pytest.approx(0)
    assert 0 <= entropy(p) <= math.log2(6) + 1e-12
    order = np.argsort(p)
    assert entropy(p[order]) == pytest.approx(entropy(p)) and kl_divergence(p[order], q[order]) == pytest.approx(
        float(kl_divergence(p, q)), abs=1e-12
    )


def test_entropies_by_hand_and_by_scipy() -> None:
    assert entropy([0.5, 0.5]) == 1 and entropy([0.25] * 4) == 2 and entropy([1.0, 0.0]) == 0
    assert kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf and kl_divergence([1.0, 0.0], [0.5, 0.5]) == 1
    theirs = pytest.importorskip("scipy.stats").entropy
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(9), 20), rng.dirichlet(np.ones(9), 20)
    assert entropy(p) == pytest.approx(theirs(p, axis=1, base=2))
    assert kl_divergence(p, q) == pytest.approx(theirs(p, q, axis=1, base=2))
    for wrong in ([0.5, 0.4], [1.5, -0.5], []):
        with pytest.raises(BadInput, match="distribution"):
            entropy(wrong)


@given(st.integers(2, 1000), st.integers(1, 200))
def test_a_uniform_model_is_as_perplexed_as_it_has_tokens(vocabulary: int, tokens: int) -> None:
    logprob = -tokens * math.log(vocabulary)
    assert perplexity(logprob, tokens) == pytest.approx(vocabulary)
    assert bits_per_token(logprob, tokens) == pytest.approx(math.log2(vocabulary))
    assert logprob_per_word(logprob, tokens) == pytest.approx(-math.log(vocabulary))
    assert bits_per_byte(-tokens * math.log(256), tokens) == pytest.approx(8)  # one byte a token: no compression


def test_corpus_figures_are_ratios_of_sums() -> None:
    a, b = Likelihood.of("héllo wörld", -20.0, 4), Likelihood.of("x", -1.0, 1)
    both = a + b
    assert (a.chars, a.bytes, a.words) == (11, 13, 2)
    assert bits_per_character([a.logprob, b.logprob], [a.chars, b.chars]) == pytest.approx(21 / math.log(2) / 12)
    assert bits_per_byte(both.logprob, both.bytes) == pytest.approx(bits_per_byte([-20.0, -1.0], [13, 1]))
    # tokens cancel: the same text and likelihood cut differently has another perplexity and the same bits per byte
    assert perplexity(-20.0, 4) > perplexity(-20.0, 8)
    with pytest.raises(BadInput, match="no bytes"):
        bits_per_byte(-1.0, 0)
    rng = np.random.default_rng(2)
    tokens = rng.integers(5, 50, 60)
    found = interval(-2.0 * tokens * rng.uniform(0.9, 1.1, 60), tokens)
    assert found.low < 2 / math.log(2) < found.high and found.high - found.low < 0.2


def test_choices() -> None:
    logprobs, tokens, sizes = [-4.0, -6.0, -9.0], [1, 2, 3], [4, 12, 9]
    assert pick(logprobs) == 0 and pick(logprobs, tokens) == 1 and pick(logprobs, sizes) == 1
    assert choice_accuracy(logprobs, 0) == 1 and choice_accuracy_length(logprobs, tokens, 1) == 1
    assert choice_accuracy_bytes(logprobs, sizes, 0) == 0
    assert margin(logprobs) == 2 and margin(logprobs, tokens) == 0 and margin([-1.0]) == math.inf
    assert pick([-1.0, -1.0]) == 0  # the first of equals
    with pytest.raises(BadInput, match="length"):
        pick(logprobs, [1, 0, 1])
    with pytest.raises(BadInput, match="no option"):
        pick([])


def test_choices_equal_scikit_learn_s_accuracy_of_the_argmax() -> None:
    score = pytest.importorskip("sklearn.metrics").accuracy_score
    rng = np.random.default_rng(5)
    logprobs, tokens = rng.uniform(-40, 0, (300, 4)), rng.integers(1, 9, (300, 4))
    sizes, targets = tokens * rng.integers(1, 6, (300, 4)), rng.integers(0, 4, 300)
    ways = (
        (logprobs, [choice_accuracy(x, int(t)) for x, t in zip(logprobs, targets)]),
        (logprobs / tokens, [choice_accuracy_length(x, n, int(t)) for x, n, t in zip(logprobs, tokens, targets)]),
        (logprobs / sizes, [choice_accuracy_bytes(x, n, int(t)) for x, n, t in zip(logprobs, sizes, targets)]),
    )
    for values, ours in ways:
        assert np.mean(ours) == pytest.approx(score(targets, values.argmax(1)))


@given(st.lists(st.floats(-50, 0), min_size=2, max_size=6), st.integers(1, 9), st.floats(-5, 5))
def test_equal_lengths_choose_as_raw_and_shifts_change_nothing(logprobs: list[float], n: int, shift: float) -> None:
    assert probabilities(logprobs).sum() == pytest.approx(1)
    assert np.log(probabilities(logprobs) / probabilities(logprobs)[0]) == pytest.approx(
        np.array(logprobs) - logprobs[0]
    )
    assert probabilities([x + shift for x in logprobs]) == pytest.approx(probabilities(logprobs))
    raw, normed = pick(logprobs), pick(logprobs, [n] * len(logprobs))
    assert raw == normed or logprobs[raw] - logprobs[normed] < 1e-12


def test_pass_at_k_is_the_mean_over_subsets() -> None:
    for n, c in itertools.product(range(1, 7), range(7)):
        for k in range(1, n + 1):
            if c <= n:
                samples = [True] * c + [False] * (n - c)
                subsets = [any(s) for s in itertools.combinations(samples, k)]
                assert pass_at_k(n, c, k) == pytest.approx(sum(subsets) / len(subsets))
    assert pass_at_k(200, 10, 100) > 1 - (1 - 10 / 200) ** 100  # the biased one is too low
    with pytest.raises(BadInput, match="pass@3"):
        pass_at_k(2, 1, 3)


def test_calibration_equals_scikit_learns() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    p = rng.random(500)
    y = (rng.random(500) < p**2).astype(float)
    share, mean = calibration.calibration_curve(y, p, n_bins=10)
    rows = [r for r in reliability(p, y) if r.n]
    assert [r.accuracy for r in rows] == pytest.approx(share) and [r.confidence for r in rows] == pytest.approx(mean)
    weights = np.array([r.n for r in rows]) / 500
    assert calibration_error(p, y) == pytest.approx(float((weights * abs(share - mean)).sum()))
    assert brier_score(p, y) == pytest.approx(metrics.brier_score_loss(y, p))
    assert len(ascii_diagram(rows)) == len(rows)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_bounded_and_zero_when_told_the_truth(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    whole = abs(p.mean() - y.mean())
    assert whole - 1e-12 <= calibration_error(p, y, bins=1) <= calibration_error(p, y) + 1e-12 <= 1 + 1e-12
    assert calibration_error(y, y) == 0 and brier_score(y, y) == 0
    assert sum(r.n for r in reliability(p, y)) == len(p)


def test_calibration_refuses_logits() -> None:
    with pytest.raises(BadInput, match="logits"):
        calibration_error([1.5], [1])
    with pytest.raises(BadInput, match="one confidence"):
        calibration_error([], [])
