"""Terms of every script; the fast path equals the general one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.retrieval.index import BM25
from idiolect.retrieval.tokenise import WORD, Tokeniser, hash64
from idiolect.retrieval.types import Chunk


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The bridges of Köln", ["the", "bridg", "of", "koln"]),
        ("running RUNS", ["run", "run"]),
        ("the company\u2019s company's", ["the", "compani", "compani"]),
        ("cache_dir HTTPServer", ["cach", "dir", "httpserver", "http", "server"]),
        ("東京", ["東", "京", "東京"]),
        ("iPhone手机", ["iphon", "手", "机", "手机", "i", "phone"]),
        ("ＡＢＣ ﬁne", ["abc", "fine"]),
        ("हिन्दी", ["हिन्दी"]),
        ("Straße Ωμέγα", ["strass", "ωμεγα"]),
        ("й ё", ["й", "ё"]),
        ("3.5% of $1,000", ["3", "5", "of", "1", "000"]),
        ("", []),
        ("🙂 — !", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert Tokeniser()(text) == terms


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("東京は日本の首都です", "首都"),
        ("ประเทศไทยมีเมืองหลวงคือกรุงเทพมหานคร", "เมืองหลวง"),
        ("서울은 대한민국의 수도이다", "수도"),
        ("Москва — столица России", "столица"),
        ("Η Αθήνα είναι η πρωτεύουσα", "αθηνα"),
        ("القاهرة هي عاصمة مصر", "عاصمة"),
        ("दिल्ली भारत की राजधानी है", "राजधानी"),
        ("São Paulo é a maior cidade", "sao paulo"),
    ],
)
def test_every_script_is_found(text: str, query: str) -> None:
    index = BM25()
    index.add([Chunk("yes", "a", text, (0, 1)), Chunk("no", "b", "entirely different words", (0, 1))])
    assert [h.chunk for h in index.search(query, 5)] == ["yes"]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_the_ascii_path_equals_the_general_one(text: str) -> None:
    plain = Tokeniser()
    with_accent = plain(text + " é")
    assert sorted(with_accent) == sorted([*plain(text), "e"])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_counts_are_the_terms(text: str) -> None:
    tokeniser = Tokeniser()
    terms, counts = tokeniser.count(text)
    assert terms.tolist() == sorted(set(map(hash64, tokeniser(text))))
    assert int(counts.sum()) == len(tokeniser(text))
    assert counts.dtype == np.uint16


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_case_and_form_do_not_matter(text: str) -> None:
    import unicodedata

    tokeniser = Tokeniser()
    decomposed = unicodedata.normalize("NFD", text)
    assert [t for t in tokeniser(decomposed.lower()) if WORD.fullmatch(t)] == [
        t for t in tokeniser(unicodedata.normalize("NFC", text).lower()) if WORD.fullmatch(t)
    ]
