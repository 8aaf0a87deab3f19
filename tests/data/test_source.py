"""Laws of batches: every item once an epoch, pure in (seed, step), nothing padded, nothing leaks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.data import Balanced, Batching, Mixed, PackedSource, Shuffled, WindowSource
from idiolect.data.batch import TrainBatch
from idiolect.data.items import Joined, Subset
from idiolect.data.order import Order
from idiolect.data.packing import best_fit, by_tokens
from tests.data.parts import tokens

LENGTHS = st.lists(st.integers(2, 30), min_size=1, max_size=40)
BATCHING = st.builds(
    Batching,
    examples=st.integers(1, 9),
    tokens=st.sampled_from([0, 0, 20, 100, 5000]),
    micro_tokens=st.integers(10, 120),
    bucket=st.sampled_from([0, 1, 3]),
)


def same(a: list[TrainBatch], b: list[TrainBatch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.batch.ids, y.batch.ids)
        and torch.equal(x.targets, y.targets)
        and torch.equal(x.weights, y.weights)
        and x.batch.bounds == y.batch.bounds
        for x, y in zip(a, b, strict=True)
    )


@settings(deadline=None, max_examples=150)
@given(lengths=LENGTHS, batching=BATCHING, seed=st.integers(0, 5), epoch=st.integers(0, 2))
def test_every_item_once_an_epoch_and_nothing_padded(
    lengths: list[int], batching: Batching, seed: int, epoch: int
) -> None:
    items = tokens(lengths)
    source = PackedSource(items, Shuffled(len(items), seed), batching, seed)
    steps = [source.step(epoch * source.steps_per_epoch + i) for i in range(source.steps_per_epoch)]
    assert all(steps), "no step is empty"
    batches = [b for step in steps for b in step]
    seen = torch.cat([b.batch.ids for b in batches])
    assert sorted(seen.tolist()) == list(range(sum(lengths))), "every token of every item, once; no other"
    for batch in batches:
        assert batch.tokens <= max(batching.micro_tokens, *lengths)
    if not batching.tokens:
        counts = [sum(b.batch.segments for b in step) for step in steps]
        assert counts[:-1] == [batching.examples] * (len(steps) - 1)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, batching=BATCHING, steps=st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_a_step_is_a_pure_function(lengths: list[int], batching: Batching, steps: list[int]) -> None:
    items = tokens(lengths)
    one = PackedSource(items, Shuffled(len(items), 3), batching, 3)
    late = {n: one.step(n) for n in steps}  # in any order, with other steps between
    for n in reversed(steps):
        assert same(PackedSource(items, Shuffled(len(items), 3), batching, 3).step(n), late[n])
    other = PackedSource(items, Shuffled(len(items), 4), batching, 4)
    if len(lengths) > 12:
        assert not all(same(other.step(n), one.step(n)) for n in range(one.steps_per_epoch))


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, weight=st.sampled_from([0.0, 0.1, 1.0]))
def test_rows_predict_the_next_token_of_their_own_segment(lengths: list[int], weight: float) -> None:
    items = tokens(lengths)
    items.counted = (np.arange(len(items.ids)) % 3 != 0).astype(np.uint8)
    for batch in PackedSource(items, batching=Batching(examples=5, prompt_weight=weight)).step(0):
        for a, b in zip(batch.batch.bounds[:-1], batch.batch.bounds[1:], strict=True):
            ids = batch.batch.ids[a:b]
            assert torch.equal(batch.targets[a : b - 1], ids[1:])
            wanted = [1.0 if items.counted[t] else weight for t in ids[1:].tolist()]
            assert batch.weights[a : b - 1].tolist() == pytest.approx(wanted)
            assert batch.weights[b - 1] == 0, "the last row has nothing of its own to predict"
            assert torch.equal(batch.batch.pos[a:b], torch.arange(b - a))


@settings(deadline=None, max_examples=100)
@given(lengths=LENGTHS, room=st.integers(5, 60))
def test_best_fit_wastes_little(lengths: list[int], room: int) -> None:
    bins = best_fit(lengths, room)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in b) for b in bins]
    assert all(total <= room or len(b) == 1 for total, b in zip(sums, bins, strict=True))
    two = sorted(sums)[:2]
    assert len(bins) == 1 or sum(two) > room, "no two bins could be one"


@settings(deadline=None, max_examples=100)
@given(lengths=LENGTHS, data=st.data())
def test_steps_by_tokens_are_even(lengths: list[int], data: Any) -> None:
    steps = data.draw(st.integers(1, len(lengths)))
    bounds = by_tokens(np.array(lengths), steps)
    assert bounds[0] == 0
    assert bounds[-1] == len(lengths)
    assert (np.diff(bounds) >= 1).all()
    if max(lengths) * steps * 2 <= sum(lengths):
        sums = np.add.reduceat(np.array(lengths), bounds[:-1])
        assert abs(sums - sum(lengths) / steps).max() <= 2 * max(lengths)


def test_the_responses_of_a_prompt_stay_together_and_are_ranked() -> None:
    items = tokens([[5, 7], [9, 4, 6], [3, 3]], format="preference")
    items.references = np.arange(7, dtype=np.float32)
    (batch,) = PackedSource(items, batching=Batching(examples=3)).step(0)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert batch.reference is not None
    assert batch.reference.tolist() == list(range(7))
    small = PackedSource(items, batching=Batching(examples=3, micro_tokens=12)).step(0)
    assert sorted(b.batch.segments for b in small) == [2, 2, 3]
    picked = PackedSource(Subset(items, np.array([2, 0])), batching=Batching(examples=2)).step(0)[0]
    assert picked.reference is not None
    assert picked.reference.tolist() == [5, 6, 0, 1]


def test_labels_are_classes_or_values() -> None:
    (batch,) = PackedSource(tokens([4, 5, 6], ["spam", "ham", "spam"])).step(0)
    assert batch.labels is not None
    assert (batch.labels.dtype, batch.labels.tolist()) == (torch.int64, [1, 0, 1])
    (batch,) = PackedSource(tokens([4, 5], [0.5, 2.0])).step(0)
    assert batch.labels is not None
    assert (batch.labels.dtype, batch.labels.tolist()) == (torch.float32, [0.5, 2.0])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=3, max_size=60), st.integers(0, 5))
def test_balance_takes_as_many_of_each_class(labels: list[float], epoch: int) -> None:
    order = Balanced(np.array(labels), seed=1)
    chosen = order.epoch(epoch)
    assert len(set(chosen.tolist())) == len(chosen) == len(order)
    found = Counter(labels[i] for i in chosen)
    assert set(found) == set(labels)
    assert set(found.values()) == {min(Counter(labels).values())}


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), data=st.data())
def test_a_mixture_keeps_its_weights_and_uses_sets_evenly(sizes: list[int], data: Any) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(sizes), max_size=len(sizes)))
    order = Mixed(sizes, weights, seed=1)
    counts: Counter[int] = Counter()
    for epoch in range(4):
        chosen = order.epoch(epoch)
        assert len(chosen) == len(order) == sum(sizes)
        which = np.searchsorted(order.starts, chosen, "right") - 1
        for i, weight in enumerate(weights):
            assert abs((which == i).sum() - weight / sum(weights) * sum(sizes)) <= 1
        counts.update(chosen.tolist())
    for start, size in zip(order.starts[:-1], sizes, strict=True):
        used = [counts[i] for i in range(start, start + size)]
        assert max(used) - min(used) <= 1, "nothing is repeated before all was used"


def test_joined_items_are_those_of_the_parts() -> None:
    a, b = tokens([3, 4]), tokens([5])
    joined = Joined([a, b])
    assert joined.lengths.tolist() == [3, 4, 5]
    assert joined.segments(2)[0][0].tolist() == b.segments(0)[0][0].tolist()
    assert joined.segments(1)[0][0].tolist() == a.segments(1)[0][0].tolist()


def test_buckets_put_similar_lengths_together() -> None:
    random = np.random.default_rng(0)
    items = tokens(random.integers(2, 100, 160).tolist())
    order: Order = Shuffled(160, 0)

    def padded(bucket: int) -> int:
        source = PackedSource(items, order, Batching(examples=8, bucket=bucket))
        return sum(8 * int(items.lengths[source.chosen(i)].max()) for i in range(source.steps_per_epoch))

    assert padded(10) < 0.8 * padded(0)


# -------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("reading", ["random", "sequential", "lanes"])
def test_windows_predict_the_text(reading: Any) -> None:
    ids = np.arange(1000, dtype=np.uint32)
    source = WindowSource(ids, block=16, windows=5, reading=reading, micro_tokens=40, seed=2)
    for step in (0, 3, source.steps_per_epoch + 1):
        batches = source.step(step)
        assert all(b.tokens <= 40 for b in batches)
        for b in batches:
            assert torch.equal(b.targets, b.batch.ids + 1), "the last row predicts the token after the window"
            assert set(np.diff(b.batch.bounds).tolist()) == {16}
        again = WindowSource(ids, block=16, windows=5, reading=reading, micro_tokens=40, seed=2)
        assert same(again.step(step), batches)


def test_sequential_windows_read_the_text_once_and_lanes_continue() -> None:
    ids = np.arange(1000, dtype=np.uint32)
    source = WindowSource(ids, block=16, windows=5, reading="sequential")
    seen = [t for i in range(source.steps_per_epoch) for b in source.step(i) for t in b.batch.ids.tolist()]
    assert seen == list(range(62 * 16))
    assert source.tokens_per_epoch == len(seen)
    lanes = WindowSource(ids, block=16, windows=5, reading="lanes")
    for step in range(lanes.steps_per_epoch - 1):
        assert (lanes.starts(step) + 16 == lanes.starts(step + 1)).all()
    random = WindowSource(ids, block=16, windows=500, reading="random")
    starts = np.concatenate([random.starts(i) for i in range(20)])
    assert starts.min() == 0
    assert starts.max() == 1000 - 16 - 1, "the last window still has a token after it"


def test_what_cannot_be_cut_is_said() -> None:
    with pytest.raises(BadInput, match="has 5 tokens"):
        WindowSource(np.arange(5), block=5)
    with pytest.raises(BadInput, match="sequential"):
        WindowSource(np.arange(50), block=5, reading="sequental")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="weight above 0"):
        Mixed([3, 4], [1.0, 0.0], 0)
    with pytest.raises(BadInput, match="prompt_weight"):
        Batching(prompt_weight=-1)
