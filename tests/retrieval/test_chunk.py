"""Laws of the chunker: spans are exact, nothing is lost, sizes are bounded, the same every time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput
from idiolect.retrieval.chunk import Recursive, context, measure
from idiolect.retrieval.load.markdown import structure
from idiolect.retrieval.load.text import paragraphs
from idiolect.retrieval.types import Block, Doc

WORDS = st.text(alphabet=st.sampled_from("ab.!?c \n\n\t#`|-東京。ไทยé1🙂"), max_size=600)


def covers(doc: Doc, chunker: Recursive) -> list:
    chunks = list(chunker(doc))
    seen = [False] * len(doc.text)
    for chunk in chunks:
        start, stop = chunk.span
        assert doc.text[start:stop] == chunk.text
        assert chunk.text.strip()
        assert measure(doc.text)(start, stop) <= max(chunker.size, 4)
        seen[start:stop] = [True] * (stop - start)
    missed = [(i, c) for i, c in enumerate(doc.text) if not c.isspace() and not seen[i]]
    assert not missed
    assert len({c.id for c in chunks}) == len(chunks)
    assert [c.span for c in chunks] == sorted(c.span for c in chunks)
    assert chunks == list(chunker(doc))
    return chunks


@settings(max_examples=300, deadline=None)
@given(WORDS, st.integers(16, 120), st.integers(0, 60), st.integers(0, 120))
def test_laws_on_any_text(text: str, size: int, overlap: int, least: int) -> None:
    chunker = Recursive(size, min(overlap, size // 2), min(least, size))
    covers(Doc("a.txt", text, tuple(paragraphs(text))), chunker)
    covers(Doc("a.md", text, tuple(structure(text))), chunker)
    covers(Doc("a", text, ()), chunker)


@settings(max_examples=100, deadline=None)
@given(
    WORDS,
    st.lists(
        st.tuples(
            st.integers(0, 700),
            st.integers(0, 700),
            st.sampled_from(["heading", "paragraph", "list", "code", "table"]),
            st.integers(1, 3),
        ),
        max_size=8,
    ),
)
def test_laws_on_wrong_blocks(text: str, spans: list) -> None:
    """A loader's blocks may overlap, miss text or point past the end: nothing is lost all the same."""
    blocks = tuple(Block((min(a, b), max(a, b)), kind, (), page) for a, b, kind, page in spans)
    covers(Doc("a", text, blocks), Recursive(40, 10, 10))


def test_sections_are_not_mixed() -> None:
    text = "# One\n\n" + "Cats sleep all day. " * 20 + "\n\n## Two\n\n" + "Dogs run in parks. " * 20
    chunks = covers(Doc("a.md", text, tuple(structure(text)), "One"), Recursive(500, 100, 50))
    assert {c.heading for c in chunks} == {("One",), ("One", "Two")}
    for chunk in chunks:
        assert not ("Cats" in chunk.text and "Dogs" in chunk.text)
    assert chunks[-1].context == "One > Two"


def test_small_sections_share_a_chunk() -> None:
    text = "# A\n\nShort.\n\n# B\n\nAlso short.\n"
    chunks = covers(Doc("a.md", text, tuple(structure(text))), Recursive())
    assert len(chunks) == 1


def test_overlap_repeats_the_last_sentences() -> None:
    text = " ".join(f"Sentence number {i} is here." for i in range(100))
    chunks = covers(Doc("a.txt", text, tuple(paragraphs(text))), Recursive(300, 80, 50))
    for before, after in pairwise(chunks):
        assert before.span[0] < after.span[0] < before.span[1] < after.span[1]
        assert before.span[1] - after.span[0] <= 80
        assert after.text.startswith("Sentence")
    assert all(c.text.endswith(".") for c in chunks)


def test_functions_keep_their_indent() -> None:
    text = "class A:\n" + "\n".join(f"    def f{i}(self):\n        return {i}\n" for i in range(30))
    chunks = covers(Doc("a.py", text, (Block((0, len(text)), "code"),)), Recursive(200, 0, 50))
    assert any(c.text.startswith("    def") for c in chunks)


def test_pages_are_kept_apart() -> None:
    one, two = "First page text. " * 20, "Second page text. " * 20
    text = f"{one}\n\n{two}"
    blocks = (
        Block((0, len(one)), "paragraph", (), 1),
        Block((len(one) + 2, len(text)), "paragraph", (), 2),
    )
    chunks = covers(Doc("a.pdf", text, blocks), Recursive(1000, 100, 100))
    assert [c.page for c in chunks] == [1, 2]


def test_wide_characters_count_four() -> None:
    text = "東京は日本の首都です。" * 100
    chunks = covers(Doc("a.txt", text, tuple(paragraphs(text))), Recursive(400, 40, 50))
    assert max(len(c.text) for c in chunks) <= 100
    assert all(c.text.endswith("。") for c in chunks)


@pytest.mark.parametrize("values", [(4, 0, 0), (100, 60, 0), (100, -1, 0), (100, 10, 101)])
def test_settings_out_of_range(values: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput):
        Recursive(*values)


def test_context_says_a_title_once() -> None:
    assert context("Guide", ("Guide", "Install")) == "Guide > Install"
    assert context("Guide", ("Install",)) == "Guide > Install"
    assert context("", ()) == ""
