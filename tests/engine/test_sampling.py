"""Each processor against a plain NumPy reference, and draws against their distribution."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Sampling
from idiolect.engine.sampling import (
    Row,
    count_penalties,
    draw,
    logit_bias,
    logprobs,
    repetition_penalty,
    sample,
    truncate,
    uniform,
)

V = 40
logit_rows = st.lists(
    st.lists(st.integers(-40, 40).map(lambda i: i / 4), min_size=V, max_size=V), min_size=1, max_size=4
)


def fits(observed: np.ndarray, expected: np.ndarray) -> bool:
    """Pearson's chi-square within five standard deviations of its mean."""
    freedom = len(observed) - 1
    return float(((observed - expected) ** 2 / expected).sum()) < freedom + 5 * math.sqrt(2 * freedom)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def support(row: np.ndarray, k: int, p: float, m: float) -> set[int]:
    """The plain way: one rule after the other, each renormalised, ties at the border kept."""
    alive = np.ones(len(row), dtype=bool)
    if k:
        alive &= row >= np.sort(row)[::-1][min(k, len(row)) - 1]
    if p < 1:
        probs = np.where(alive, softmax(np.where(alive, row, -np.inf)), 0.0)
        order = np.argsort(-row, kind="stable")
        mass, last = 0.0, row[order[0]]
        for i in order:
            if mass >= p - 1e-7 or not alive[i]:
                break
            last = row[i]
            mass += probs[i]
        alive &= row >= last
    if m:
        alive &= row >= row.max() + math.log(m) - 1e-6
    return set(np.flatnonzero(alive))


@settings(max_examples=150, deadline=None)
@given(
    logit_rows,
    st.lists(st.integers(0, V + 5), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.0, 0.1, 0.35, 0.71, 0.9, 0.993, 1.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.0, 0.013, 0.11, 0.53, 1.0]), min_size=4, max_size=4),
)
def test_truncation_keeps_what_the_reference_keeps(
    rows: list[list[float]], ks: list[int], ps: list[float], ms: list[float]
) -> None:
    n = len(rows)
    logits = torch.tensor(rows)
    out = truncate(logits, torch.tensor(ks[:n]), torch.tensor(ps[:n]), torch.tensor(ms[:n]))
    for i in range(n):
        kept = set(torch.nonzero(out[i] > float("-inf"))[:, 0].tolist())
        assert kept == support(np.array(rows[i]), ks[i], ps[i], ms[i])
        assert torch.equal(out[i][sorted(kept)], logits[i][sorted(kept)])


def test_a_flat_nucleus_larger_than_the_first_look_is_exact() -> None:
    logits = torch.zeros(2, 5000)
    logits[0] = torch.linspace(0, 1, 5000)
    out = truncate(logits, torch.tensor([0, 0]), torch.tensor([0.7, 1.0]), torch.tensor([0.0, 0.0]))
    probs = logits[0].softmax(0)
    kept = out[0] > float("-inf")
    assert 0.7 <= float(probs[kept].sum()) < 0.7 + 1e-3
    assert bool((out[1] > float("-inf")).all())


@settings(max_examples=50, deadline=None)
@given(logit_rows, st.integers(0, 1 << 30))
def test_penalties_and_bias_equal_a_loop(rows: list[list[float]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.array(rows, dtype=np.float32)
    counts = rng.integers(0, 4, x.shape)
    seen = (counts > 0) | (rng.random(x.shape) < 0.2)
    n = len(rows)
    repeat, freq, pres = rng.uniform(0.5, 2, n), rng.uniform(-2, 2, n), rng.uniform(-2, 2, n)
    got = repetition_penalty(torch.tensor(x), torch.tensor(seen), torch.tensor(repeat, dtype=torch.float32)[:, None])
    got = count_penalties(
        got, torch.tensor(counts), *(torch.tensor(a, dtype=torch.float32)[:, None] for a in (freq, pres))
    )
    got = logit_bias(got, torch.tensor([0, 0]), torch.tensor([3, 3]), torch.tensor([1.5, 2.0]))
    want = x.copy()
    for i in range(n):
        for t in range(V):
            if seen[i, t]:
                want[i, t] = want[i, t] / repeat[i] if want[i, t] > 0 else want[i, t] * repeat[i]
            want[i, t] -= freq[i] * counts[i, t] + (pres[i] if counts[i, t] else 0)
    want[0, 3] += 3.5
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


def test_the_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]])
    n = 20_000
    rows = [Row(Sampling(temperature=0.7, top_k=4), seed=11, choice=0, index=i) for i in range(n)]
    ids = sample(logits.expand(n, -1), rows)
    observed = np.bincount(ids.numpy(), minlength=5)
    expected = softmax(np.array([0.0, 1.0, 2.0, -np.inf, 0.5]) / 0.7) * n
    assert observed[3] == 0
    keep = expected > 0
    assert fits(observed[keep], expected[keep])


def test_the_stream_is_uniform_and_its_coordinates_are_independent() -> None:
    values = np.array([[uniform(5, 0, i), uniform(6, 0, i), uniform(5, 1, i)] for i in range(5000)])
    assert values.min() >= 0 and values.max() < 1
    for column in values.T:
        assert fits(np.histogram(column, bins=20, range=(0, 1))[0], np.full(20, 250.0))
    correlation = np.corrcoef(np.column_stack([values, np.roll(values[:, 0], 1)]).T)
    assert np.abs(correlation - np.eye(4)).max() < 0.06
    assert uniform(5, 0, 7) == uniform(5, 0, 7) and uniform(-1, 0, 0) != uniform(1, 0, 0)


@settings(max_examples=50, deadline=None)
@given(logit_rows, st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
def test_a_draw_never_takes_a_token_that_is_out(rows: list[list[float]], numbers: list[float]) -> None:
    logits = torch.tensor(rows)
    logits[:, -3:] = float("-inf")
    logits[:, 0] = float("-inf")
    for extreme in (numbers, [0.0] * 4, [1 - 2**-53] * 4):
        ids = draw(logits, extreme[: len(rows)])
        assert bool((logits.gather(1, ids[:, None]) > float("-inf")).all())


def test_a_row_is_chosen_alike_whatever_its_neighbours_ask() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 300, generator=generator) * 3
    seen = torch.rand(300, generator=generator) < 0.1
    counts = seen.float() * 2
    rows = [
        Row(Sampling(temperature=0), 1, 0, 0),
        Row(Sampling(temperature=0.8, top_p=0.9), 2, 0, 4),
        Row(Sampling(temperature=1.0, repetition_penalty=1.3, frequency_penalty=0.5), 3, 1, 2, seen, counts),
        Row(Sampling(temperature=0, presence_penalty=1.5), 4, 0, 9, seen, counts),
        Row(Sampling(temperature=1.3, top_k=7, min_p=0.05, logit_bias={5: 4.0}), 5, 0, 1),
        Row(Sampling(temperature=1e-9), 6, 0, 0),
    ]
    together = sample(logits, rows).tolist()
    alone = [int(sample(logits[i : i + 1], [row])[0]) for i, row in enumerate(rows)]
    assert together == alone
    assert together[0] == int(logits[0].argmax()) and together[5] == int(logits[5].argmax())


def test_logprobs_are_the_raw_models() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    want = logits.double().log_softmax(1)
    found = logprobs(logits, torch.tensor([4, 5, 6]), [0, 2, 3])
    for i, (token, n) in enumerate([(4, 0), (5, 2), (6, 3)]):
        assert abs(found[i].logprob - float(want[i, token])) < 1e-5
        best = want[i].topk(max(n, 1))
        assert [t for t, _ in found[i].top] == best.indices.tolist()[:n]
        assert all(abs(v - w) < 1e-5 for (_, v), w in zip(found[i].top, best.values.tolist()))
