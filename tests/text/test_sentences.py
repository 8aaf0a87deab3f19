"""Sentence spans: they tile the text, and they do not cut where a reader would not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.text.sentences import sentences

CASES: list[list[str]] = [
    ["Dr. Smith paid $3.14 to Mr. Jones.", "He left at 5 p.m. yesterday."],
    ["It rose by 1.5 million, i.e. 3.2 %.", "No. 5 is alive."],
    ["See Fig. 3, Sec. 2.1 and pp. 4-7 for details.", "It works."],
    ["The U.S. forces and the U.K. agreed.", "The E.U. did not."],
    ["J. R. R. Tolkien wrote it.", "A. Smith did not."],
    ["Visit https://example.com/a.b?c=d.", "Then mail x.y@z.org today!"],
    ["Use os.Path.join and Foo.Bar now.", "See www.Example.Com/A.B for it."],
    ['He said "Stop."', "Then he left."],
    ['"Really?" she asked.', '"Yes!"'],
    ["“It ended.”", "Nobody spoke."],
    ["Wait... what?", "OK."],
    ["He (see p. 5) left.", "(This too.)", "And so on."],
    ["**Bold.**", "Next *it.*", "More `code.` yes."],
    ["A claim.[3]", "Another claim [4]."],
    ["これは文です。", "次の文！", "「はい。」と言った。", "そうですか？"],
    ["她说：“你好。”", "然后走了。", "真的吗？"],
    ["वह आया।", "वह गया।"],
    ["مرحبا كيف حالك؟", "أنا بخير."],
    ["This wraps\nover a line.", "Next one\nwraps too."],
    ["Version 1.2.3 is out.", "Upgrade now!"],
]


@pytest.mark.parametrize("parts", CASES, ids=lambda parts: parts[0][:20])
def test_hard_cases(parts: list[str]) -> None:
    space = "" if any("\u3040" <= c <= "\u9fff" for c in "".join(parts)) else " "
    text = space.join(parts)
    assert [text[a:b] for a, b in sentences(text)] == parts


def test_language_chooses_the_abbreviations() -> None:
    text = "Das kostet ca. 5 Mio. Euro, d. h. viel. Ende."
    assert [text[a:b] for a, b in sentences(text, "de")] == ["Das kostet ca. 5 Mio. Euro, d. h. viel.", "Ende."]


def test_lines_of_markdown_end_sentences() -> None:
    parts = [
        *("# Heading 1. Part two", "A paragraph.", "It goes on\nover lines.", "- item one", "- item two.", "With two."),
        *("1. First", "2. Second", "> quoted. no stop", "| a. B | c. D |", "```", "x = a. B", "y()", "```", "The end"),
    ]
    text = (
        "# Heading 1. Part two\nA paragraph. It goes on\nover lines.\n\n- item one\n- item two. With two.\n1. First\n"
    )
    text += "2. Second\n\n> quoted. no stop\n\n| a. B | c. D |\n```\nx = a. B\ny()\n```\nThe end\n"
    got = [text[a:b] for a, b in sentences(text)]
    quoted = got.index("> quoted.")
    assert [*got[:quoted], "> quoted. no stop", *got[quoted + 2 :]] == parts


def test_windows_lines_and_titles_without_stops() -> None:
    text = "Title\r\n\r\nBody text here. More\r\nof it."
    assert [text[a:b] for a, b in sentences(text)] == ["Title", "Body text here.", "More\r\nof it."]


PIECES = st.sampled_from(
    [
        *"abZ.!?。「」()[]\"'*`#->|\n\r\t 1",
        " ",
        "\n\n",
        "Dr. ",
        "e.g. ",
        "```\n",
        "- ",
        "3.14",
        "http://a.b/C.D ",
        "\ud800",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
def test_spans_tile_the_text(text: str) -> None:
    done = 0
    for start, end in sentences(text):
        assert done <= start < end and not text[done:start].strip()
        assert text[start:end] == text[start:end].strip()
        done = end
    assert not text[done:].strip()


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 10**9), st.integers(0, 999), st.sampled_from(["{} costs {}.{:03d} now.", "At {}: {}.{:03d}, then."])
)
def test_numbers_are_never_cut(a: int, b: int, shape: str) -> None:
    text = shape.format("It", a, b) + " Next."
    assert [text[s:e] for s, e in sentences(text)][-1] == "Next."
    assert len(sentences(text)) == 2


def test_long_texts_take_linear_time() -> None:
    for text in ("A sentence here. " * 20_000, "(" * 50_000, ". " * 50_000, "「" * 50_000, "(a.) B " * 5_000):
        start = time.thread_time()
        sentences(text)
        assert time.thread_time() - start < 3
