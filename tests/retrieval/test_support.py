"""A passage supports its own sentences, and no sentence with another number, name or subject."""

from __future__ import annotations

from typing import Any

import pytest

from idiolect.core.call import Passage
from idiolect.engine import Embedder
from idiolect.retrieval.support import supported
from idiolect.text.sentences import sentences

TEXTS = [
    "The lighthouse at Cape Orrin was built by Tamsin Vale in 1911. It stands 48 metres above the sea. "
    "Its lamp was made in Lint and uses 2,400 candles a year.",
    "The bridge at Kelder was built by Ruan Moss in 1934. It has three arches, and it carries no trains.",
]
PASSAGES = [Passage(str(i), f"{i}.md", text, (0, len(text))) for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize("encoder", [True, False])
def test_every_sentence_of_a_passage_is_supported_by_it(encoder: bool, minilm: Any) -> None:
    embedder = Embedder(minilm) if encoder else None
    for index, text in enumerate(TEXTS):
        for a, b in sentences(text):
            found = supported(text[a:b], PASSAGES, embedder)
            assert found.supported, (text[a:b], found)
            assert found.passage == index
            assert text[found.span[0] : found.span[1]] == text[a:b]


@pytest.mark.parametrize("encoder", [True, False])
@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("The lighthouse at Cape Orrin was built by Tamsin Vale in 1912.", ("1912",)),
        ("The lighthouse at Cape Orrin was built by Joan Harker in 1911.", ("Joan", "Harker")),
        ("The bridge at Kelder has 5 arches.", ("5",)),
        ("Penguins are birds that cannot fly.", ()),
    ],
)
def test_changed_facts_and_other_subjects_are_not_supported(
    sentence: str, missing: tuple[str, ...], encoder: bool, minilm: Any
) -> None:
    found = supported(sentence + " [1]", PASSAGES, Embedder(minilm) if encoder else None)
    assert not found.supported
    assert set(missing) <= set(found.missing)


def test_spelled_and_grouped_numbers_are_the_same_number() -> None:
    assert supported("The bridge at Kelder has 3 arches.", PASSAGES).supported
    assert supported("The lamp uses 2400 candles a year.", PASSAGES).supported


def test_words_of_the_question_are_given() -> None:
    claim = "Yes, in Altmark the bridge was built by Ruan Moss in 1934."
    assert not supported(claim, PASSAGES).supported
    assert supported(claim, PASSAGES, question="Is this about Altmark?").supported


def test_nothing_to_check_against() -> None:
    assert not supported("The bridge has arches.", []).supported
    assert supported("[1]", PASSAGES).supported  # no words, no claim
