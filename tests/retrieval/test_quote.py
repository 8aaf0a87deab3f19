"""Quotes are verbatim, in place, without repetitions; the ranking listens to every ranker; irrelevance is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Passage
from idiolect.engine import Embedder, Engine
from idiolect.retrieval import Library, LibraryConfig
from idiolect.retrieval.candidates import candidates
from idiolect.retrieval.cues import cue
from idiolect.retrieval.likelihood import items, totals
from idiolect.retrieval.quote import choose, rank, shortlist
from idiolect.retrieval.refuse import relevance

TEXT = """# The islands

## Cape Orrin

The lighthouse at Cape Orrin was built by Tamsin Vale in 1911. It stands 48 metres above the sea, and its lamp was made
in Lint. Dr. Vale never saw it lit.

## Kelder

The bridge at Kelder was built by Ruan Moss in 1934. It has 63 arches. It carries no trains.

- Tickets are sold at the baker's shop.
- The ferry to Senn leaves at noon on weekdays.
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "islands.md").write_text(TEXT)
    opened = Library.open(folder, state=tmp_path / "state", config=LibraryConfig(chunk_size=220, chunk_overlap=80))
    opened.sync()
    return opened


def passage(text: str, at: int = 0, document: str = "a.md", **scores: float) -> Passage:
    return Passage(f"{document}{at}", document, text, (at, at + len(text)), (), None, 1.0, scores)


def test_candidates_are_verbatim_in_place_and_met_once(library: Library) -> None:
    found = candidates(library.search("who built the bridge and the lighthouse, and where are tickets sold", 20))
    text = library.document("islands.md").text
    assert len(found) >= 7
    for one in found:
        assert text[one.span[0] : one.span[1]] == one.text
    assert len({one.span for one in found}) == len(found)
    assert not [one for one in found if one.text.startswith("#")]  # a heading answers nothing


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("abc de.!?\n-#\"'1Ü漢字。"), max_size=200), st.integers(0, 60), st.integers(0, 60))
def test_overlapping_passages_give_verbatim_candidates_that_do_not_contain_each_other(
    text: str, cut: int, overlap: int
) -> None:
    middle = min(len(text), cut)
    second = max(0, middle - overlap)
    found = candidates([passage(text[:middle]), passage(text[second:], second)])
    for one in found:
        assert text[one.span[0] : one.span[1]] == one.text
    for one in found:
        for other in found:
            assert one is other or not (other.span[0] <= one.span[0] and one.span[1] <= other.span[1])


def test_rank_is_deterministic_bounded_and_works_without_encoder_and_model(library: Library) -> None:
    question = "Who built the bridge at Kelder?"
    found = library.search(question, 10)
    quotes = rank(question, found, terms=library.tokeniser, most=2)
    assert quotes == rank(question, found, terms=library.tokeniser, most=2)
    assert len(quotes) == 2
    assert quotes[0].text == "The bridge at Kelder was built by Ruan Moss in 1934."
    assert quotes[0].score >= quotes[1].score
    assert rank(question, [], most=3) == []
    assert rank("   ", found, most=3) == []


def test_the_likelihood_moves_the_order(library: Library) -> None:
    short = shortlist("Who built it?", library.search("built", 10), terms=library.tokeniser)
    last = len(short.found) - 1
    told = [-60.0] * last + [-10.0]
    before = [q.text for q in choose(short, None, last + 1)]
    after = choose(short, told, last + 1)
    assert before[last] == short.found[last].text
    assert [q.text for q in after].index(short.found[last].text) < last
    assert sorted(q.scores["lm"] for q in after) == sorted(told)
    assert sum(q.score for q in after) == pytest.approx(1.0)
    assert len(choose(short, None, 3, sure=0.01)) == 1  # sure of the first: no other is shown
    assert len(choose(short, None, 3, sure=1.0)) == 3
    flat = choose(short, [3.0] * (last + 1), 3)
    assert [q.text for q in flat] == [q.text for q in choose(short, None, 3)]  # a flat likelihood changes nothing


def test_the_real_models_put_the_answer_first(library: Library, smol: Any, minilm: Any) -> None:
    engine = Engine(smol)
    embedder = Embedder(minilm)

    def score(found: Any, question: str) -> list[float]:
        return totals(engine.score(items(smol.tokenizer, found, question)))

    for question, answer in (
        ("Who built the lighthouse?", "Tamsin Vale"),
        ("When does the boat to Senn depart?", "noon"),
    ):
        found = library.search(question, 10) or library.search("island lighthouse bridge ferry tickets", 10)
        quotes = rank(question, found, embedder=embedder, score=score, terms=library.tokeniser, most=1)
        assert answer in quotes[0].text


def test_likelihood_items_score_the_question_alone(smol: Any) -> None:
    found = candidates(
        [passage("The bridge at Kelder was built by Ruan Moss. " + "Long words follow here " * 200 + ".")]
    )
    question = "Who built it?"
    for item in items(smol.tokenizer, found, question):
        assert smol.tokenizer.decode(list(item.ids[item.start :])) == " " + question
        assert item.start < 200  # an endless sentence is clipped


def test_relevance_tells_questions_about_the_documents_from_others(library: Library, minilm: Any) -> None:
    embedder = Embedder(minilm)

    def relevant(question: str, encoder: bool) -> bool:
        found = library.search(question, 10, "bm25")
        short = shortlist(question, found, embedder=embedder if encoder else None, terms=library.tokeniser)
        return relevance(short.features, encoder=encoder).relevant

    for encoder in (True, False):
        assert relevant("Who built the lighthouse at Cape Orrin?", encoder)
        assert relevant("How many arches has the bridge at Kelder?", encoder)
        assert not relevant("Which vitamin deficiency causes scurvy?", encoder)
        assert not relevant("How do I tie a bow tie?", encoder)
    assert not relevance(None, encoder=True).relevant


def test_features_of_one_candidate_are_finite() -> None:
    short = shortlist("Who?", [passage("The one and only sentence of this text.")])
    assert short.features is not None
    assert np.isfinite(short.features.matrix()).all()


@pytest.mark.parametrize(
    ("question", "sentence", "sign"),
    [
        ("How many arches has it?", "It has 63 arches.", 1),
        ("How many arches has it?", "It has arches.", -1),
        ("When was it built?", "It was built in 1934.", 1),
        ("When was it built?", "It was built with 63 arches.", -1),
        ("Who built it?", "It was built by Ruan Moss.", 1),
        ("Who built it?", "It was built by hand.", -1),
        ("Why was it built?", "It was built by hand.", 0),
    ],
)
def test_cues(question: str, sentence: str, sign: int) -> None:
    assert np.sign(cue(question, sentence)) == sign
