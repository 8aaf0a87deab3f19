"""Rankings recover known strengths, and say when there is nothing to rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.rank import Match, Table, bradley_terry, elo, intransitive, mean_win_rate, win_rates
from idiolect.evals.rank.bradley_terry import fit

TRUE = {"a": 1.0, "b": 0.4, "c": -0.2, "d": -1.2}


def played(n: int, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    names = list(TRUE)
    matches = []
    for _ in range(n):
        i, j = rng.choice(4, 2, replace=False)
        wins = rng.random() < 1 / (1 + np.exp(TRUE[names[j]] - TRUE[names[i]]))
        matches.append(Match(names[i], names[j], float(wins)))
    return Table(matches, names)


def test_bradley_terry_recovers_known_strengths() -> None:
    table = played(20_000)
    found = bradley_terry(table, draws=20)
    assert found.strengths == pytest.approx(list(TRUE.values()), abs=0.06)
    assert [row.name for row in found.rows] == list(TRUE)
    assert found.probability(table, "a", "d") == pytest.approx(1 / (1 + np.exp(-2.2)), abs=0.01)
    assert sum(row.matches for row in found.rows) == 40_000


def test_its_intervals_cover_the_truth() -> None:
    held = total = 0
    for seed in range(40):
        table = played(400, seed)
        rows = {r.name: r for r in bradley_terry(table, draws=100, prior=1e-3).rows}
        for name, strength in TRUE.items():
            true = 1000 + strength * 400 / np.log(10)
            held += rows[name].low <= true <= rows[name].high
            total += 1
    assert held / total >= 0.9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), min_size=1))
def test_the_likelihood_is_at_its_peak(rows: list[tuple[int, int, float]]) -> None:
    """The gradient of the penalised likelihood is zero: expected wins equal wins, for any set of matches."""
    matches = [Match(str(a), str(b), s) for a, b, s in rows if a != b]
    if not matches:
        return
    table = Table(matches)
    wins, prior = table.wins(), 0.5
    strengths = fit(wins, prior, rounds=20_000, tolerance=1e-12)
    # `fit` centres the strengths; the average player sits where the imaginary ties balance.
    chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    expected = ((wins + wins.T) * chance).sum(1)
    low, high = -60.0, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(middle - strengths))).sum() > len(strengths) / 2:
            low = middle
        else:
            high = middle
    pull = prior * (0.5 - 1 / (1 + np.exp(low - strengths)))
    assert wins.sum(1) - expected + pull == pytest.approx(np.zeros(len(strengths)), abs=1e-5)


def test_who_wins_everything_is_not_infinitely_strong() -> None:
    found = bradley_terry(Table([Match("x", "y", 1.0)] * 10), draws=10)
    assert np.isfinite(found.strengths).all() and found.rows[0].name == "x"


def test_elo_agrees_and_the_order_matters_only_there() -> None:
    table = played(4000)
    assert list(elo(table, orders=50)) == list(TRUE)
    backwards = Table(table.matches[::-1], table.players)
    assert elo(table, orders=1)["a"].value != elo(backwards, orders=1)["a"].value
    assert bradley_terry(table, draws=2).strengths == pytest.approx(bradley_terry(backwards, draws=2).strengths)
    one = elo(Table([Match("p", "q", 1.0)]), orders=1)
    assert one["p"].value == 1008.0 and one["q"].value == 992.0


def test_circles_are_counted() -> None:
    rounds = [Match("r", "s", 1.0), Match("s", "p", 1.0), Match("p", "r", 1.0)]
    found = intransitive(Table(rounds))
    assert found.n == 1 and found.share == 1.0 and set(found.cycles[0]) == {"r", "s", "p"}
    cycle = found.cycles[0]
    wins = {(m.a, m.b) for m in rounds}
    assert all((cycle[i], cycle[(i + 1) % 3]) in wins for i in range(3))
    assert intransitive(played(4000)).share == 0.0
    assert intransitive(Table([Match("r", "s", 0.5), Match("s", "p", 1.0), Match("p", "r", 1.0)])).n == 0


def test_win_rates() -> None:
    table = Table([Match("x", "y", 1.0), Match("x", "y", 1.0), Match("x", "z", 0.5)], ["x", "y", "z", "idle"])
    found = win_rates(table)
    assert (found["x"], found["y"], found["z"]) == (0.75, 0.0, 0.5)
    assert np.isnan(found["idle"])
    scores = {"x": {"t": 0.9, "u": 12.0}, "y": {"t": 0.5, "u": 12.0}}
    assert mean_win_rate(scores) == {"x": 0.75, "y": 0.25}
    with pytest.raises(BadInput, match="'y' has no score for u"):
        mean_win_rate({"x": scores["x"], "y": {"t": 1.0}})


def test_bad_matches_are_refused() -> None:
    with pytest.raises(BadInput, match="against itself"):
        Match("x", "x", 1.0)
    with pytest.raises(BadInput, match="score is 2"):
        Match("x", "y", 2.0)
    with pytest.raises(BadInput, match="two players"):
        Table([])
