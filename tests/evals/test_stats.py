"""Intervals cover what they should, pairs beat separate samples, and the rules agree with their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.stats import (
    advise,
    bootstrap,
    figure,
    holm,
    kappa,
    mcnemar,
    paired,
    resample,
    resolves,
    spearman,
    wilson,
)
from idiolect.evals.stats.mcnemar import difference
from idiolect.evals.stats.swap import LEAST, sign_flips, swap


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


@pytest.mark.parametrize(("right", "n"), [(0, 20), (3, 7), (20, 20), (412, 500)])
def test_wilson_equals_scipy_s(right: int, n: int) -> None:
    theirs = pytest.importorskip("scipy.stats").binomtest(right, n).proportion_ci(method="wilson")
    found = wilson(right, n)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


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
    assert math.isnan(same.p) and not same.clear and same.estimate.value == 0.0


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


# ------------------------------------------------------------------------------------------------ few items, all equal


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_items_that_are_all_alike_have_an_interval(value: float) -> None:
    """20 of 20 right is no certainty: the interval is Wilson's, and the bootstrap says that it cannot tell."""
    alone = bootstrap([value] * 20)
    assert not alone.bounded and str(alone) == f"{value:.4g} (n=20)"
    found = figure([*[value] * 20, math.nan], share=True)
    known = wilson(20 * value, 20)
    assert (found.low, found.high, found.n, found.unscored) == (known.low, known.high, 20, 1)
    together = figure([value] * 20, share=True, groups=[i // 5 for i in range(20)])
    assert (together.low, together.high) == (wilson(4 * value, 4).low, wilson(4 * value, 4).high)
    whole = figure(np.full((20, 2), value), lambda x: float(x.mean()), share=True)
    assert (whole.low, whole.high) == (known.low, known.high)


def test_right_and_wrong_have_wilson_s_interval_and_others_a_bootstrap() -> None:
    values = [1.0] * 7 + [0.0] * 3
    assert (figure(values).low, figure(values).high) == (wilson(7, 10).low, wilson(7, 10).high)
    assert figure([*values, 0.5]) == bootstrap([*values, 0.5])
    assert figure(values, groups=list("aabbccddee")) == bootstrap(values, groups=list("aabbccddee"))
    assert not figure([3.0] * 9).bounded  # no share: nothing bounds how it might vary
    half = figure([0.5] * 30, share=True)
    assert half.low == pytest.approx(wilson(15, 30).low)


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_equals_scipy_s_binomial_test(wins: int, losses: int) -> None:
    theirs = pytest.importorskip("scipy.stats").binomtest
    expected = theirs(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar(wins, losses) == pytest.approx(expected) == mcnemar(losses, wins)


def test_paired_right_and_wrong_cover_the_truth_when_few_differ() -> None:
    """Few items, few differences: Bonett and Price's interval holds the true difference 93 % of the time or more,
    where a bootstrap does not."""
    rng = np.random.default_rng(23)
    held = naive = 0
    for task in range(600):
        kind = rng.choice(3, 40, p=[0.9, 0.08, 0.02])  # alike, won, lost
        wins, losses = int((kind == 1).sum()), int((kind == 2).sum())
        low, high = difference(wins, losses, 40)
        held += low <= 0.06 <= high
        drawn = bootstrap((kind == 1).astype(float) - (kind == 2), draws=200, seed=task)
        naive += drawn.bounded and drawn.low <= 0.06 <= drawn.high
    assert held / 600 >= 0.93 and naive < held


def test_too_few_differences_get_no_p_value() -> None:
    """Five of five cannot be significant whatever they are; six of six can."""
    for wins, clear in ((5, False), (6, True)):
        a = np.array([1.0] * wins + [0.0] * 30)
        found = paired(a, np.zeros(len(a)))
        assert (found.differ, found.clear, math.isnan(found.p)) == (wins, clear, not clear)
    assert LEAST == 6 and 2 / 2**LEAST < 0.05 < 2 / 2 ** (LEAST - 1)
    five = paired([1.0, 2.0, 3.0, 4.0, 5.5], [0.0] * 5)
    assert math.isnan(five.p) and five.estimate.clear_of(0.0) and not five.clear
    grouped = paired(np.ones(40), np.zeros(40), groups=[i // 8 for i in range(40)])
    assert grouped.differ == 5 and not grouped.clear  # five passages, however many questions


def test_the_interval_and_the_test_of_right_and_wrong_agree() -> None:
    """At any counts from six differences on, both say clear or neither does, but for one step at the border."""
    for wins in range(41):
        for losses in range(wins):
            if wins + losses >= LEAST:
                low, _ = difference(wins, losses, 500)
                p = mcnemar(wins, losses)
                assert (low > 0) == (p < 0.05) or 0.02 < p < 0.08, (wins, losses)


def test_sign_flips_of_few_are_every_way_there_is() -> None:
    gaps = np.array([0.5, 1.0, -0.25, 2.0, 0.75, 0.1, 0.0])
    p, differ = sign_flips(gaps, None, 5000, 0)
    ways = [abs(float((1 - 2 * np.array(signs)) @ gaps[:6])) for signs in np.ndindex(*[2] * 6)]
    assert differ == 6 and p == pytest.approx(np.mean(np.array(ways) >= abs(gaps.sum()) - 1e-9))
    a, b = np.stack([gaps, gaps], 1), np.zeros((7, 2))
    same, _ = swap(a, b, lambda x, y: float(x[:, 0].mean() - y[:, 0].mean()), None, 5000, 0)
    assert same == pytest.approx(p)


def test_swapping_names_is_uniform_under_equality_for_a_figure_that_is_no_mean() -> None:
    """A ratio of sums (bits per byte) of two equal systems: p below 0.1 in a tenth of the tasks."""
    rng = np.random.default_rng(29)

    def gap(a: np.ndarray, b: np.ndarray) -> float:
        return float(a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum())

    p = []
    for task in range(200):
        sizes = rng.integers(10, 100, 25).astype(float)
        one, two = (np.stack([sizes * rng.gamma(9, 1 / 9, 25), sizes], 1) for _ in range(2))
        p.append(swap(one, two, gap, None, 150, task)[0])
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.065)


def test_what_a_number_of_items_resolves_is_the_advice_backwards() -> None:
    gap = resolves(400, 0.5, correlation=0.5)
    assert gap == pytest.approx(2.8016 * math.sqrt(0.25 / 400), rel=1e-3)
    assert advise(gap, 0.5, correlation=0.5).items == pytest.approx(400, rel=0.03)
    assert resolves(1600) == pytest.approx(resolves(400) / 2) and resolves(3) <= 1.0
    assert 0 < resolves(400, 1.0) < resolves(400, 0.9)
    assert resolves(30, correlation=1.0) == 6 / 30  # alike as they may be: five differences are no finding
    with pytest.raises(BadInput):
        resolves(0)
