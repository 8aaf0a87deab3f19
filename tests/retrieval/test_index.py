"""BM25 against its formula and against bm25s; the exact index against NumPy; both under any edits."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.retrieval.fuse import reciprocal_rank
from idiolect.retrieval.index import BM25, Exact
from idiolect.retrieval.index.bm25 import best
from idiolect.retrieval.tokenise import Tokeniser
from idiolect.retrieval.types import Chunk, Hit

WORDS = ["river", "stone", "bridge", "water", "old", "mill", "road", "東京", "the", "of"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def chunk(name: str, text: str) -> Chunk:
    return Chunk(name, "a.txt", text, (0, len(text)))


def formula(texts: dict[str, str], query: str, index: BM25) -> dict[str, float]:
    """BM25 written down directly, one document at a time."""
    tokens = {name: index.tokeniser(text) for name, text in texts.items()}
    mean = sum(map(len, tokens.values())) / max(1, len(tokens))
    stop = set(index.tokeniser("the of"))
    asked = index.tokeniser(query)
    asked = [t for t in asked if t not in stop] or asked
    scores = {}
    for name, terms in tokens.items():
        counts = Counter(terms)
        for term in asked:
            n = sum(term in other for other in tokens.values())
            idf = math.log(1 + (len(tokens) - n + 0.5) / (n + 0.5))
            f = counts[term]
            norm = index.k1 * (1 - index.b + index.b * len(terms) / max(mean, 1e-9))
            scores[name] = scores.get(name, 0.0) + (idf * f * (index.k1 + 1) / (f + norm) if f else 0.0)
    return {name: score for name, score in scores.items() if score > 0}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "add", "add", "delete"]), st.integers(0, 9), TEXT), max_size=40),
    TEXT,
)
def test_any_edits_give_the_formula(edits: list[tuple[str, int, str]], query: str) -> None:
    index, texts = BM25(stop=("the", "of")), dict[str, str]()
    for what, number, text in edits:
        name = f"c{number}"
        if what == "delete":
            assert index.delete([name, "unknown"]) == (name in texts)
            texts.pop(name, None)
        else:
            index.add([chunk(name, text)])
            texts[name] = text
    assert len(index) == len(texts)
    want = formula(texts, query, index)
    got = {hit.chunk: hit.score for hit in index.search(query, 100)}
    assert got.keys() == want.keys()
    assert got == pytest.approx(want, rel=1e-4)
    assert list(got.values()) == sorted(got.values(), reverse=True)


def test_many_edits_keep_few_segments_and_drop_the_dead() -> None:
    rng = np.random.default_rng(0)
    index = BM25()
    texts: dict[str, str] = {}
    for i in range(3000):
        texts[f"c{i}"] = " ".join(rng.choice(WORDS, 8))
        index.add([chunk(f"c{i}", texts[f"c{i}"])])
    assert len(index._segments) <= 16
    for i in range(0, 2990):
        index.delete([f"c{i}"])
        del texts[f"c{i}"]
    assert len(index._ids) < 2000  # dead slots were dropped
    got = {h.chunk: h.score for h in index.search("river stone", 100)}
    assert got == pytest.approx(formula(texts, "river stone", index), rel=1e-4)


def test_title_and_headings_are_searched() -> None:
    index = BM25()
    index.add([Chunk("a", "d", "Forty days.", (0, 11), context="Handbook > Refunds"), chunk("b", "Other words.")])
    assert [h.chunk for h in index.search("refund", 5)] == ["a"]


def test_the_same_id_twice_in_one_call_counts_once() -> None:
    index = BM25()
    index.add([chunk("a", "river"), chunk("a", "stone")])
    assert len(index) == 1
    assert not index.search("river", 5)
    assert index.search("stone", 5)


def test_a_query_of_stop_words_alone_is_answered() -> None:
    index = BM25()
    index.add([chunk("a", "to be or not to be"), chunk("b", "river")])
    assert [h.chunk for h in index.search("to be or not to be", 5)] == ["a"]


def test_words_of_most_documents_still_count() -> None:
    """The idf of SQLite's FTS5 is zero here, and its ranking of a small folder is then that of nothing."""
    index = BM25()
    index.add([chunk("a", "river river stone"), chunk("b", "river"), chunk("c", "mill")])
    assert {h.chunk for h in index.search("river", 5)} == {"a", "b"}


@pytest.mark.parametrize("query", ["", "  ", "???", "zzz", "\0"])
def test_nothing_shared_nothing_found(query: str) -> None:
    index = BM25()
    index.add([chunk("a", "river")])
    assert index.search(query, 10) == []
    assert BM25().search("river", 10) == []


@pytest.mark.parity
def test_scores_are_those_of_bm25s() -> None:
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(1)
    vocabulary = [f"word{i}" for i in range(200)]
    texts = [" ".join(rng.choice(vocabulary, rng.integers(5, 60))) for _ in range(300)]
    ours, tokeniser = BM25(k1=1.5, b=0.75), Tokeniser()
    ours.add([chunk(str(i), text) for i, text in enumerate(texts)])
    rival = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    rival.index([tokeniser(text) for text in texts], show_progress=False)
    for _ in range(20):
        query = " ".join(rng.choice(vocabulary, 5, replace=False))
        # bm25s leaves out the constant factor (k1 + 1), as Lucene does
        want = rival.get_scores(tokeniser(query)) * 2.5
        assert ours.scores(query) == pytest.approx(want, rel=1e-4, abs=1e-5)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=40), st.integers(0, 2**31))
def test_exact_under_any_edits(edits: list[tuple[bool, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, vectors = Exact(8), dict[str, np.ndarray]()
    for add, number in edits:
        name = f"c{number}"
        if add:
            vector = rng.normal(size=8).astype(np.float32)
            vectors[name] = vector / np.linalg.norm(vector)
            index.add([name], vectors[name][None])
        else:
            assert index.delete([name]) == (name in vectors)
            vectors.pop(name, None)
    query = rng.normal(size=8).astype(np.float32)
    got = {h.chunk: h.score for h in index.search(query, 100)}
    assert got == pytest.approx({n: float(v @ query) for n, v in vectors.items()}, rel=1e-4, abs=1e-6)
    assert list(got.values()) == sorted(got.values(), reverse=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 40))
def test_best_is_a_stable_sort(values: list[int], k: int) -> None:
    scores = np.array(values, np.float32)
    want = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert best(scores, k).tolist() == want


def test_reciprocal_rank_by_hand() -> None:
    fused = reciprocal_rank(
        {"bm25": [Hit("a", 9), Hit("b", 8)], "dense": [Hit("b", 0.9), Hit("c", 0.8)]}, weights={"dense": 2.0}
    )
    assert [(h.chunk, round(h.score, 6)) for h in fused] == [
        ("b", round(1 / 62 + 2 / 61, 6)),
        ("c", round(2 / 62, 6)),
        ("a", round(1 / 61, 6)),
    ]
    assert reciprocal_rank({}) == []
