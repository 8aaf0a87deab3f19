"""n-gram overlap is exactly what comparing every n-gram with every other would find, however the text is streamed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, NotFound
from idiolect.core.progress import Report
from idiolect.evals.contamination import Contamination, Place, Text, Training, items, overlap
from idiolect.evals.contamination import overlap as function
from idiolect.evals.contamination import words as words_module
from idiolect.evals.contamination.overlap import blocks, last_words
from idiolect.evals.contamination.words import Block, canonical

MODULE = __import__("sys").modules[function.__module__]
WORD = st.sampled_from(["a", "b", "ab", "ba", "Ünï", "-", "B.", "x"])
TEXT = st.lists(WORD, max_size=14).map(" ".join)


def by_hand(
    training: Sequence[str], tests: Sequence[Sequence[str]], n: int, least: int
) -> list[tuple[int, int, float]]:
    """(n-grams, found, covered) of each item."""
    texts = [canonical(t).split() for t in training]
    rows = []
    for item in tests:
        grams = hits = covered = total = 0
        for text in item:
            own = canonical(text).split()
            total += len(own)
            size = min(n, len(own))
            if size < least:
                continue
            marks = [False] * len(own)
            for i in range(len(own) - size + 1):
                grams += 1
                if any(own[i : i + size] == t[j : j + size] for t in texts for j in range(len(t) - size + 1)):
                    hits += 1
                    marks[i : i + size] = [True] * size
            covered += sum(marks)
        rows.append((grams, hits, covered / total if total else 0.0))
    return rows


def figures(found: Contamination) -> list[tuple[int, int, float]]:
    return [(i.grams, i.found, i.covered) for i in found.items]


def stream(texts: Sequence[str]) -> list[Text]:
    return [Text(Place("f", i, 0), t) for i, t in enumerate(texts)]


@given(st.lists(TEXT, max_size=5), st.lists(st.lists(TEXT, max_size=3), max_size=4), st.integers(1, 4), st.data())
def test_it_finds_what_comparing_everything_finds(
    training: list[str], tests: list[list[str]], n: int, data: st.DataObject
) -> None:
    least = data.draw(st.integers(1, n))
    named = [(str(i), t) for i, t in enumerate(tests)]
    want = by_hand(training, tests, n, least)
    found = overlap(stream(training), named, n=n, least=least)
    assert figures(found) == [pytest.approx(w) for w in want]
    assert found.short == sum(not w[0] for w in want)
    # cut into tiny blocks; and with a hash under which all orders of the same letters collide
    with mock.patch.object(MODULE, "BLOCK", 4):
        assert figures(overlap(stream(training), named, n=n, least=least)) == figures(found)
    with mock.patch.object(words_module, "MULTIPLIER", 1):
        assert figures(overlap(stream(training), named, n=n, least=least)) == figures(found)
    for item in found.dirty:
        for part in item.stretches:
            there = canonical(training[part.place.line]).split()
            assert part.text.encode().split()[:least] == there[part.place.word : part.place.word + least]


UNSPACED = re.compile("([\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])")


@given(st.text(max_size=60) | st.text("aB é́_ﬁ東京、한.\ud800İ", max_size=20))
def test_canonical_text_is_what_two_expressions_make_of_it(text: str) -> None:
    plain = unicodedata.normalize("NFKC", text.lower()).lower()
    words = re.sub(r"[\W_]+", " ", plain)
    words = UNSPACED.sub(lambda m: f" {m[1]} " if m[1].isalnum() else " ", words)
    assert canonical(text).decode() == " ".join(words.split())
    with mock.patch.object(words_module, "PIECE", 3):
        assert canonical(text).decode() == " ".join(words.split())


def test_what_a_reader_takes_for_the_same_is_the_same() -> None:
    assert canonical("“Don’t”, she said — ﬁnally!") == b"don t she said finally"
    assert canonical("don't she_said (FINALLY)") == b"don t she said finally"
    assert canonical("東京は日本") == "東 京 は 日 本".encode()
    assert canonical("") == b"" and canonical("...") == b""


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 9))
def test_blocks_lose_and_add_no_gram(letters: list[str], n: int, size: int) -> None:
    whole = Block.of([" ".join(letters).encode()])
    every = {whole.gram(n, i) for i in whole.grams(n).tolist()}
    with mock.patch.object(MODULE, "BLOCK", size):
        parts = list(blocks(stream([" ".join(letters)]), n))
        cut = len(letters) // 2
        halves = [
            Text(Place("f", 0, 0), " ".join(letters[:cut])),
            Text(Place("f", 9, 0), " ".join(letters[cut:]), continues=True),
        ]
        continued = list(blocks(halves, n))
    for found in (parts, continued):
        assert {b.gram(n, i) for b, _ in found for i in b.grams(n).tolist()} == every


def test_equal_grams_hash_alike_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    block = Block.of([b" ".join(rng.choice([b"a", b"bb", b"c1"], 2000).tolist()), b"", b"a bb c1"])
    at = block.grams(3)
    by_text: dict[bytes, set[int]] = {}
    for i, h in zip(at.tolist(), block.hashes(3, at).tolist(), strict=True):
        by_text.setdefault(block.gram(3, i), set()).add(h)
    assert len(by_text) == 27 and all(len(h) == 1 for h in by_text.values())
    assert len(set.union(*by_text.values())) == 27
    assert last_words(b"a bb c", 2) == b"bb c" and last_words(b"a", 5) == b"a" and last_words(b"a b", 0) == b""


PASSAGE = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    names = [f"w{i}" for i in range(500)]
    train = tmp_path / "train"
    (train / "sub").mkdir(parents=True)
    for i in range(3):
        rows = [{"text": " ".join(rng.choice(names, 60)), "n": i} for _ in range(40)]
        if i == 1:
            rows[17]["text"] += " " + PASSAGE.upper().replace(" ", "\n") + " more words here"
        (train / "sub" / f"{i}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (train / "book.txt").write_text("\n".join(" ".join(rng.choice(names, 12)) for _ in range(50)))
    (tmp_path / "test.jsonl").write_text(
        "".join(
            json.dumps(r) + "\n"
            for r in (
                {"question": "What does this say? " + PASSAGE, "choices": ["yes", "no"]},
                {"question": " ".join(rng.choice(names, 40)), "choices": ["x"]},
                {"question": "Too short to tell", "choices": []},
            )
        )
    )
    return tmp_path


def test_a_planted_passage_is_found_with_its_place(folder: Path) -> None:
    tests = items(folder / "test.jsonl")
    reports: list[Report] = []
    found = overlap(Training(folder / "train", sink=reports.append), tests)
    assert [bool(i.found) for i in found.items] == [True, False, False]
    assert found.short == 1 and found.share.n == 2 and found.share.value == 0.5
    part = found.dirty[0].stretches[0]
    assert part.text == canonical(PASSAGE).decode() and part.words == 20
    assert part.place.file.endswith("1.jsonl") and (part.place.line, part.place.word) == (18, 60)
    assert reports[-1].finished and reports[-1].done == reports[-1].total


def test_fields_and_mistakes(folder: Path) -> None:
    assert [len(t) for _, t in items(folder / "test.jsonl", ["choices"])] == [2, 1, 0]
    with pytest.raises(BadInput, match="answer"):
        items(folder / "test.jsonl", ["answer"])
    with pytest.raises(NotFound):
        Training(folder / "nothing")
    with pytest.raises(BadInput, match="least"):
        overlap([], [], n=5, least=6)
    bad = folder / "train" / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{broken\n')
    with pytest.raises(BadInput, match="line 2"):
        overlap(Training(bad), [])
    assert overlap(Training(bad, skip=True), []).unread == 1
    assert overlap([], [("x", [PASSAGE])]).items[0].found == 0
