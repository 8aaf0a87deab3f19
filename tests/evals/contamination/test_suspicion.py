"""Texts that a model finds too easy stand out from those that it does not know."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.evals.contamination import min_k, suspicion
from idiolect.evals.contamination.suspicion import modified_z

LOGPROBS = st.lists(st.floats(-20, 0), min_size=1, max_size=30)


@given(LOGPROBS, st.floats(0.05, 1), st.floats(0.05, 1))
def test_min_k_is_the_mean_of_the_worst(logprobs: list[float], one: float, two: float) -> None:
    assert min_k(logprobs, 1.0) == pytest.approx(np.mean(logprobs))
    low, high = sorted((one, two))
    assert min(logprobs) - 1e-9 <= min_k(logprobs, low) <= min_k(logprobs, high) + 1e-9
    assert min_k(logprobs[::-1], one) == pytest.approx(min_k(logprobs, one))


def test_min_k_by_hand() -> None:
    assert min_k([-1, -2, -3, -4, -10], 0.4) == -7
    for wrong in (([], 0.2), ([-1.0], 0.0), ([-1.0], 1.5)):
        with pytest.raises(BadInput, match="share"):
            min_k(*wrong)


def test_a_planted_item_stands_out_and_easy_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    texts = [f"item {i} " + "x" * int(rng.integers(20, 60)) for i in range(40)]
    hard = rng.uniform(0.5, 4, 40)  # some are hard for everybody
    reference = [-h * rng.gamma(20, 1 / 20, len(t)) for h, t in zip(hard, texts, strict=True)]
    own = [r + rng.normal(0, 0.02, len(r)) for r in reference]
    own[7] = own[7] * 0.2
    found = suspicion(texts, own, reference)
    assert [s.item for s in found.outliers] == [7]
    assert found.items[7].gain == pytest.approx(
        -float(np.sum(reference[7]) - np.sum(own[7])) / math.log(2) / len(texts[7])
    )
    assert suspicion(texts, reference, reference).outliers == ()


def test_without_a_reference_zlib_is_one() -> None:
    text = "abc " * 20
    found = suspicion([text, "another text"], [[-1.0], [-2.0]])
    packed = len(zlib.compress(text.encode(), 9)) - len(zlib.compress(b"", 9))
    assert found.reference == "zlib"
    assert found.items[0].gain == pytest.approx((8 * packed - 1 / math.log(2)) / len(text))
    with pytest.raises(BadInput, match="one for each"):
        suspicion(["a"], [])


def test_the_modified_z_score_by_hand() -> None:
    assert modified_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).tolist() == pytest.approx(
        [-1.349, -0.6745, 0.0, 0.6745, 0.6745 * 97]
    )
    assert modified_z(np.array([1.0, 1.0, 1.0])).tolist() == [0, 0, 0]


KNOWN = [
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator "
    "with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness.",
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty.",
    "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer the slings and arrows of "
    "outrageous fortune.",
]
NEW = [
    "We keep those rules in a yellow folder, that no cat of Brno is fed twice, that it is given by the second clerk "
    "only dry and salted fish, and that on Mondays are cheese, lettuce and a bucket of gravel.",
    "Nine boats and a tractor later the committee dragged out on that island, a rusty kiosk, painted in turquoise.",
    "To knit, or to peel beets, this was her plan: Whether 'twas colder in the attic to count the pins and buttons of "
    "reluctant uncles.",
]


def test_a_real_model_knows_what_everybody_has_read(smol: Any) -> None:
    from idiolect.engine import Engine, EngineConfig, Scored

    texts = KNOWN + NEW
    with Engine(smol, EngineConfig()) as engine:
        ids = [smol.tokenizer.encode(t, bos=True) for t in texts]
        logprobs = [[t.logprob for t in row] for row in engine.score([Scored(i, 1) for i in ids])]
    found = suspicion(texts, logprobs)
    for known, new in zip(found.items[:3], found.items[3:], strict=True):
        assert known.min_k > new.min_k and known.gain > new.gain
