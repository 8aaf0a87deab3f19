"""Choosing a token in the kernels, against the sampler's own rules (tests/engine/test_sampling.py tests those)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.engine.sampling import uniform
from idiolect.native.library import CHOICE
from tests.engine.test_sampling import support

SIZES = [1, 3, 16, 63, 64, 65, 200, 1000]
ROWS = st.tuples(st.sampled_from(SIZES), st.integers(0, 1 << 30), st.sampled_from([0.25, 2.0]))  # n, seed, width
NEAR = 2e-6  # a border between two tokens moves by so much at most: sums of float32


def logits_of(n: int, seed: int, width: float) -> np.ndarray:
    """Random logits in quarters, so that many are equal."""
    return (np.round(np.random.default_rng(seed).normal(size=n) * width * 4) / 4).astype(np.float32)


def choose(lib: Any, logits: np.ndarray, **how: Any) -> tuple[int, float, list[int], np.ndarray]:
    """(token, norm, the most likely ids, their log-probabilities)."""
    row = np.zeros(1, CHOICE)
    row["top_p"] = 1.0
    for name, value in how.items():
        row[name] = value
    room = max(1, int(row["wants"][0]) - 1)
    norm, ids, values = np.zeros(1, np.float32), np.full(room, -1, np.int32), np.zeros(room, np.float32)
    own = np.concatenate((logits, np.full(3, 1e9, np.float32)))  # what lies past the end must not be seen
    token = lib.idl_choose(
        own.ctypes.data, len(logits), row.ctypes.data, norm.ctypes.data, ids.ctypes.data, values.ctypes.data
    )
    return token, float(norm[0]), ids.tolist(), values


@given(st.integers(0, (1 << 64) - 1), st.integers(-5, 1 << 40), st.integers(0, 1 << 50))
@settings(deadline=None)
def test_the_number_behind_a_token_is_the_sampler_s(lib: Any, seed: int, choice: int, index: int) -> None:
    assert lib.idl_uniform(seed, choice, index) == uniform(seed, choice, index)


@given(ROWS, st.integers(0, 70))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_most_likely_tokens_and_their_log_probabilities(
    lib: Any, isa: str, row: tuple[int, int, float], top: int
) -> None:
    x = logits_of(*row)
    token, norm, ids, values = choose(lib, x, wants=1 + top)
    assert token == int(x.argmax())  # the lowest id among equals
    wide = x.astype(np.float64)
    assert norm == pytest.approx(float(np.log(np.exp(wide - wide.max()).sum()) + wide.max()), abs=1e-5)
    want = np.lexsort((np.arange(len(x)), -x))[:top]
    assert ids[: len(want)] == want.tolist()[: len(ids)]
    np.testing.assert_allclose(values[: min(top, len(x))], x[want] - norm, atol=1e-6)


@given(
    ROWS,
    st.integers(0, 1100),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.993, 1.0]),
    st.sampled_from([0.0, 0.013, 0.3, 1.0]),
    st.sampled_from([0.2, 0.7, 1.0, 3.0]),
    st.integers(0, 1 << 40),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_draw_is_the_inverse_of_the_distribution_that_is_left(
    lib: Any, isa: str, row: tuple[int, int, float], k: int, p: float, m: float, temperature: float, seed: int
) -> None:
    x = logits_of(*row)
    token, *_ = choose(lib, x, temperature=temperature, top_k=k, top_p=p, min_p=m, seed=seed, index=7)
    warm = (x / np.float32(temperature)).astype(np.float64)
    alive = sorted(support(warm, k, p, m))
    assert token in alive
    mass = np.exp(warm[alive] - warm.max())
    border = np.concatenate(([0.0], np.cumsum(mass))) / mass.sum()
    at, number = alive.index(token), uniform(seed, 0, 7)
    assert border[at] - NEAR <= number <= border[at + 1] + NEAR


def test_a_flat_row_and_one_with_a_single_token_left(lib: Any, isa: str) -> None:
    flat = np.zeros(50_000, np.float32)
    found = {choose(lib, flat, temperature=1.0, top_p=0.9, seed=s)[0] for s in range(40)}
    assert found == {int(uniform(s, 0, 0) * 50_000) for s in range(40)}  # equals are all kept
    one = np.full(300, -np.inf, np.float32)
    one[123] = 2.0
    assert all(choose(lib, one, temperature=5.0, seed=s)[0] == 123 for s in range(20))
