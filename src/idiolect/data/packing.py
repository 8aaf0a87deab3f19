"""Cutting an order into steps, and a step into micro-batches. Nothing is padded: what is packed are segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def by_examples(items: int, each: int) -> np.ndarray:
    """Bounds [steps + 1] of steps of `each` items; the last of an epoch may be smaller."""
    return np.minimum(np.arange(-(-items // each) + 1) * each, items)


def steps_by_tokens(total: int, items: int, each: int) -> int:
    """How many steps of about `each` tokens an epoch of `total` tokens has."""
    return min(max(1, round(total / each)), items)


def by_tokens(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Bounds [steps + 1] of steps with nearly equal numbers of tokens, each with an item at least. `lengths` are those
    of the items in their order."""
    items = len(lengths)
    ends = np.cumsum(lengths)
    wanted = ends[-1] * np.arange(1, steps) / steps
    inner = np.searchsorted(ends - lengths / 2, wanted)  # an item belongs to the step that its middle lies in
    number = np.arange(1, steps)
    inner = np.maximum.accumulate(np.maximum(inner - number, 0)) + number if steps > 1 else inner
    inner = np.minimum(inner, items - steps + number)
    return np.concatenate([[0], inner, [items]]).astype(np.int64)


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Places of items in bins of `room` tokens: the longest first, each into the fullest bin that still takes it
    (best-fit decreasing; Johnson 1974). An item longer than a bin gets one of its own. Bins and their items keep the
    order in which the items came, so that nothing depends on more than the lengths."""
    bins: list[list[int]] = []
    left: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = [(space, b) for b, space in enumerate(left) if space >= lengths[place]]
        if fits:
            _, best = min(fits)
            bins[best].append(place)
            left[best] -= lengths[place]
        else:
            bins.append([place])
            left.append(room - lengths[place])
    return sorted(sorted(b) for b in bins)


def bucketed(order: np.ndarray, lengths: np.ndarray, window: int, each: int, random: np.random.Generator) -> np.ndarray:
    """An order in which the items of a step are of similar lengths: windows of `window` steps of `each` items are
    sorted by length, then their steps shuffled."""
    out = []
    for begin in range(0, len(order), window * each):
        part = order[begin : begin + window * each]
        part = part[np.argsort(lengths[part], kind="stable")]
        whole = len(part) // each
        steps = [part[i * each : (i + 1) * each] for i in range(whole)]
        out += [steps[i] for i in random.permutation(whole)]
        out.append(part[whole * each :])  # a step that is not full stays last
    return np.concatenate(out)
