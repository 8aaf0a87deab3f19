"""Intervals cover what they should, pairs beat separate samples, and the rules agree with their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.stats import advise, bootstrap, holm, kappa, paired, resample, spearman, wilson


@pytest.mark.parametrize("kind", ["right or wrong", "skewed"])
def test_bootstrap_intervals_cover_the_truth(kind: str) -> None:
    """93 to 97 % of 95 % intervals hold the true mean (400 tasks of 120 items: two standard errors are 2.2 points)."""
    rng = np.random.default_rng(5)
    held = 0
    for task in range(400):
        if kind == "skewed":
            values, truth = rng.gamma(2.0, 1.0, 120), 2.0
        else:
            values, truth = (rng.random(120) < 0.7).astype(float), 0.7
        found = bootstrap(values, draws=600, seed=task)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 400 <= 0.97


def test_bootstrap_of_a_mean_is_near_the_formula() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    found = bootstrap(values, draws=4000)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(2000), rel=0.05)
    assert found.half == pytest.approx(1.96 * found.error, rel=0.05)


def test_bootstrap_equals_scipys() -> None:
    scipy = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).exponential(size=80)
    theirs = scipy.bootstrap((values,), np.std, n_resamples=4000, rng=np.random.default_rng(2)).confidence_interval
    ours = bootstrap(values, lambda x: float(np.std(x)), draws=4000)
    assert ours.low == pytest.approx(theirs.low, rel=0.06)
    assert ours.high == pytest.approx(theirs.high, rel=0.06)


def test_groups_are_drawn_together() -> None:
    """Ten copies of each item carry no more knowledge than one of each."""
    few = np.random.default_rng(3).random(40)
    many, groups = np.repeat(few, 10), [i // 10 for i in range(400)]
    alone, together, ignored = bootstrap(few), bootstrap(many, groups=groups), bootstrap(many)
    assert together.half == pytest.approx(alone.half, rel=0.1)
    assert ignored.half < together.half / 2


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert not np.array_equal(resample(values, draws=50, seed=4), resample(values, draws=50, seed=5))


def test_items_without_a_score_are_counted_not_averaged() -> None:
    found = bootstrap([1.0, float("nan"), 0.0, 1.0])
    assert (found.value, found.n, found.unscored) == (pytest.approx(2 / 3), 3, 1)
    assert "1 unscored" in str(found)
    with pytest.raises(BadInput, match="none of 2 items"):
        bootstrap([float("nan")] * 2)


def test_one_item_says_nothing() -> None:
    found = bootstrap([1.0])
    assert (found.low, found.high) == (float("-inf"), float("inf"))
    assert not found.clear_of(0.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_equation(of: tuple[int, int]) -> None:
    """The ends are where the proportion is just z standard errors away, which is how Wilson defined them."""
    right, n = of
    found = wilson(right, n)
    assert 0 <= found.low <= right / n + 1e-12 and right / n - 1e-12 <= found.high <= 1
    for end in (found.low, found.high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(right / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-4, abs=1e-9)


def test_pairs_see_what_separate_samples_cannot() -> None:
    rng = np.random.default_rng(7)
    hard = rng.random(300)
    a = (rng.random(300) * 0.3 + hard > 0.6).astype(float)
    b = a.copy()
    b[np.flatnonzero(a == 1)[:15]] = 0.0
    found = paired(a, b)
    assert found.clear and found.p < 0.001 and (found.wins, found.losses) == (15, 0)
    assert bootstrap(a).low < bootstrap(b).high  # apart they overlap
    same = paired(a, a)
    assert same.p == 1.0 and not same.clear and same.estimate.value == 0.0


def test_the_p_value_of_equal_systems_is_uniform() -> None:
    rng = np.random.default_rng(11)
    p = [paired(rng.random(60), rng.random(60), draws=200, seed=i).p for i in range(300)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.055)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(BadInput, match="same items"):
        paired([1.0], [1.0, 0.0])


@pytest.mark.parametrize(("gap", "items"), [(0.30, 10), (0.10, 100), (0.03, 1_000), (0.01, 10_000)])
def test_the_advice_names_the_rule_of_thumb(gap: float, items: int) -> None:
    advice = advise(gap)
    assert advice.rule == items and f"rule of thumb says {items:,}" in str(advice)
    assert advise(gap / 3).rule == pytest.approx(10 * items, rel=0.2)


def test_the_advice_has_the_power_it_promises() -> None:
    advice = advise(0.1, 0.5, paired=False)
    assert advice.items == 385  # (1.95996 + 0.84162)^2 * (0.25 + 0.24) / 0.01
    rng = np.random.default_rng(13)
    n = advice.items
    one, two = rng.binomial(n, 0.5, 4000) / n, rng.binomial(n, 0.6, 4000) / n
    z = abs(one - two) / np.sqrt((one * (1 - one) + two * (1 - two)) / n)
    assert np.mean(z > 1.96) == pytest.approx(0.8, abs=0.03)
    assert advise(0.1, 0.5, correlation=0.7).items < advice.items / 2
    with pytest.raises(BadInput):
        advise(0.0)


def test_holm_by_hand() -> None:
    found = holm([0.01, 0.04, 0.03, 0.2])
    assert found.p == pytest.approx((0.04, 0.09, 0.09, 0.2))
    assert found.clear == (True, False, False, False) and found.lost == 2
    assert "4 comparisons" in found.warning and holm([0.03]).warning == ""


def test_kappa_equals_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(17)
    a = rng.integers(1, 6, 200)
    b = np.where(rng.random(200) < 0.6, a, rng.integers(1, 6, 200))
    for weights in ("none", "linear", "quadratic"):
        ours = kappa(a.tolist(), b.tolist(), weights=weights, draws=50).kappa.value
        theirs = metrics.cohen_kappa_score(a, b, weights=None if weights == "none" else weights)
        assert ours == pytest.approx(theirs)
    words = kappa(["yes", "no", "yes"], ["yes", "no", "yes"], draws=50)
    assert words.raw.value == words.kappa.value == 1.0


def test_rank_correlation_equals_scipy_s() -> None:
    theirs = pytest.importorskip("scipy.stats").spearmanr
    rng = np.random.default_rng(19)
    a = rng.integers(0, 6, 80).astype(float)  # with ties
    b = a + rng.normal(0, 2, 80)
    found = spearman(a, b, draws=200)
    assert found.value == pytest.approx(theirs(a, b).statistic) and found.low < found.value < found.high
    assert spearman(a, np.exp(a), draws=20).value == pytest.approx(1)  # only the order counts
    assert spearman(a, np.ones(80), draws=20).value == 0
    assert spearman([*a, math.nan], [*b, 1.0], draws=200).unscored == 1
    with pytest.raises(BadInput, match="same items"):
        spearman([1.0], [1.0, 2.0])
