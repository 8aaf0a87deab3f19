"""Numbers on evaluation that a careful reader can check, each worked through the code that uses them.

Those of planning (memory, FLOPs, KV cache, parameters, bandwidth) are in tests/core/plan/test_numbers.py.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from idiolect.core.plan import rules
from idiolect.evals.metrics import (
    Slo,
    bits_per_byte,
    bits_per_character,
    bits_per_token,
    cross_entropy,
    entropy,
    goodput,
    kl_divergence,
    latency,
    percentile,
    perplexity,
    throughput,
)
from idiolect.evals.rank import Match, Table, intransitive, mean_win_rate
from idiolect.evals.stats import advise, wilson

LN2 = math.log(2)


def test_upper_or_lower_is_one_bit_and_a_quadrant_two() -> None:
    assert entropy([1 / 2] * 2) == 1.0
    assert entropy([1 / 4] * 4) == 2.0


def test_cross_entropy_is_entropy_plus_divergence() -> None:
    p, q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
    assert entropy(p) == 1.5 and kl_divergence(p, q) == 0.25 and cross_entropy(p, q) == 1.75


def test_perplexity_is_two_to_the_entropy() -> None:
    assert perplexity(-3 * LN2, 1) == pytest.approx(2**3)
    assert perplexity(10 * math.log(1 / 3), 10) == pytest.approx(3)  # 3: one in three
    assert perplexity(-7 * math.log(32_000), 7) == pytest.approx(32_000)  # rises with the vocabulary
    assert perplexity(-5.0, 5) == pytest.approx(math.exp(1.0))  # e^H, H in nats, is the same number


def test_six_bits_a_token_of_two_characters() -> None:
    tokens, chars = 100, 200
    logprob = -6 * LN2 * tokens
    assert bits_per_token(logprob, tokens) == pytest.approx(6)
    assert bits_per_character(logprob, chars) == pytest.approx(3)
    assert rules.bits_per_byte(3, 7) == pytest.approx(3.43, abs=0.005)
    assert bits_per_byte(logprob, chars * 7 / 8) == pytest.approx(3.43, abs=0.005)  # 7-bit characters, packed


def test_bits_per_byte_is_what_a_compressor_would_need() -> None:
    """An ideal code of a skewed source: its length over the text's bytes is the source's entropy over 8 bits a byte."""
    rng = np.random.default_rng(0)
    p = np.array([0.7, 0.2, 0.05, 0.05])
    text = rng.choice(4, 20_000, p=p)
    logprob = float(np.log(p[text]).sum())
    assert bits_per_byte(logprob, len(text)) == pytest.approx(float(entropy(p)), rel=0.02)


@pytest.mark.parametrize(("gap", "items"), [(0.30, 10), (0.10, 100), (0.03, 1_000), (0.01, 10_000)])
def test_three_times_smaller_gaps_need_ten_times_the_items(gap: float, items: int) -> None:
    assert rules.evaluation_samples(gap) == advise(gap).rule == items


def test_behind_the_rule_stands_the_square_of_the_gap() -> None:
    """A gap a third as large: nine times the items by the power calculation, which the notes round to ten."""
    assert advise(0.01).items / advise(0.03).items == pytest.approx(9, rel=0.02)
    assert wilson(1, 2).half / wilson(500, 1000).half > 10


def test_ninety_five_percent_ten_times_is_sixty() -> None:
    assert rules.compound(0.95, 10) == pytest.approx(0.5987, abs=1e-4)
    assert rules.compound(0.95, 100) == pytest.approx(0.006, abs=1e-3)


def test_latency_is_ttft_and_tpot_times_the_tokens() -> None:
    """TPOT is seconds per token, not tokens per second."""
    assert latency(0.3, 0.02, 200) == pytest.approx(0.3 + 0.02 * 200) == pytest.approx(4.3)


def test_a_mean_misleads_where_a_percentile_does_not() -> None:
    seconds = [0.1] * 95 + [10.0] * 5
    assert np.mean(seconds) == pytest.approx(0.595) and percentile(seconds, 50) == 0.1
    assert percentile(seconds, 99) == 10.0


def test_goodput_is_the_throughput_that_met_the_objective() -> None:
    class Answer:
        error = ""
        itl = 0.05

        def __init__(self, ttft: float) -> None:
            self.ttft: float | None = ttft

    answers = [Answer(0.1)] * 30 + [Answer(0.4)] * 70
    assert throughput(len(answers), 60) * 60 == 100
    assert goodput(answers, 60, Slo(0.2, 0.1)) * 60 == pytest.approx(30)


def test_a_beats_b_beats_c_beats_a() -> None:
    """Preference need not be transitive; a circle is counted, not hidden."""
    found = intransitive(Table([Match("a", "b", 1.0), Match("b", "c", 1.0), Match("c", "a", 1.0)]))
    assert (found.n, len(found.cycles)) == (1, 1)


def test_a_mean_win_rate_is_blind_to_units() -> None:
    scores = {"x": {"bleu": 30.0, "em": 0.5}, "y": {"bleu": 31.0, "em": 0.1}, "z": {"bleu": 1.0, "em": 0.4}}
    found = mean_win_rate(scores)
    assert found == mean_win_rate({s: {"bleu": t["bleu"] / 100, "em": 100 * t["em"]} for s, t in scores.items()})
    assert found == {"x": 0.75, "y": 0.5, "z": 0.25}


def test_an_agent_s_steps_compound_as_independent_draws_do() -> None:
    steps = list(itertools.product([True, False], repeat=3))
    chance = sum(0.9 ** sum(s) * 0.1 ** (3 - sum(s)) for s in steps if all(s))
    assert rules.compound(0.9, 3) == pytest.approx(chance)
