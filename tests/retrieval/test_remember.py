"""A remembering embedder answers like the one it wraps, computes a text once, and forgets what was used longest ago."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from idiolect.retrieval.remember import Remembering


class Lengths:
    """A text's vector is its length and the kind: easy to tell apart."""

    dim, fingerprint = 2, "lengths"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str], kind: str = "doc") -> np.ndarray:
        self.asked += texts
        return np.array([[len(t), kind == "query"] for t in texts], dtype=np.float32).reshape(-1, 2)


@given(st.lists(st.tuples(st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"])), st.sampled_from(["doc", "query"]))))
def test_it_is_the_embedder_that_it_wraps(calls: list[tuple[list[str], str]]) -> None:
    kept = Remembering(Lengths(), most=3)
    for texts, kind in calls:
        np.testing.assert_array_equal(kept(texts, kind), Lengths()(texts, kind))  # type: ignore[arg-type]


def test_a_text_is_computed_once_until_it_is_forgotten() -> None:
    inner = Lengths()
    kept = Remembering(inner, most=2)
    kept(["a", "a", "bb"])
    kept(["a"])
    assert inner.asked == ["a", "bb"]
    kept(["ccc"])  # bb was used longest ago
    kept(["a"])
    kept(["bb"])
    assert inner.asked == ["a", "bb", "ccc", "bb"]
