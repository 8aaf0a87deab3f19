"""`Marked` does what `str` does, and its origins are those of a reference: one unique character per origin."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from idiolect.text.marked import LITERAL, Marked, join, origin_of

TEXT = st.text(alphabet="ab \n<|", max_size=12)


@st.composite
def marked(draw: st.DrawFn) -> Marked:
    text = draw(TEXT)
    return Marked(text, "".join(draw(st.sampled_from("\x00\x02\x04")) for _ in text))


def check(result: Any, plain: Any) -> None:
    """`result` equals `plain`, has as many origins as characters, and none that it made up."""
    if isinstance(plain, (list, tuple)):
        assert len(result) == len(plain)
        for r, p in zip(result, plain):
            check(r, p)
        return
    assert str.__eq__(result, plain)
    assert isinstance(result, Marked) and len(result.origin) == len(plain)


@given(marked(), st.none() | TEXT.filter(bool), st.integers(-1, 3))
def test_cutting(text: Marked, sep: str | None, count: int) -> None:
    plain = str.__str__(text) + ""
    for name in ("strip", "lstrip", "rstrip"):
        check(getattr(text, name)(sep), getattr(plain, name)(sep))
    for name in ("split", "rsplit"):
        pieces = getattr(text, name)(sep, count)
        check(pieces, getattr(plain, name)(sep, count))
        if sep is not None:  # nothing but separators is lost
            whole = join(pieces, Marked(sep, "?" * len(sep)))
            assert whole == plain
            assert all(a in (b, "?") for a, b in zip(origin_of(whole), text.origin))
    if sep is not None:
        check(text.removeprefix(sep), plain.removeprefix(sep))
        check(text.removesuffix(sep), plain.removesuffix(sep))
        check(text.partition(sep), plain.partition(sep))
        check(text.rpartition(sep), plain.rpartition(sep))
        assert "".join(p.origin for p in text.rpartition(sep)) == text.origin
    for keep in (True, False):
        check(text.splitlines(keep), plain.splitlines(keep))


@given(marked(), TEXT, TEXT, st.integers(-1, 3))
def test_replacing(text: Marked, old: str, new: str, count: int) -> None:
    result = text.replace(old, new, count)
    check(result, str.replace(text, old, new, count))
    if old and old not in text:
        assert result.origin == text.origin


@given(marked(), marked(), TEXT, st.integers(-12, 12), st.integers(-12, 12))
def test_joining(one: Marked, two: Marked, plain: str, a: int, b: int) -> None:
    assert (one + two).origin == one.origin + two.origin
    assert (plain + one).origin == LITERAL * len(plain) + one.origin
    assert (one + plain).origin == one.origin + LITERAL * len(plain)
    assert one[a:b].origin == one.origin[a:b] and str.__eq__(one[a:b], str.__str__(one)[a:b])
    assert "".join(c.origin for c in one) == one.origin  # type: ignore[attr-defined]
    assert one.join([plain, two]).origin == LITERAL * len(plain) + one.origin + two.origin
    assert (one * 2).origin == one.origin * 2


@given(st.text(max_size=10))
def test_case(text: str) -> None:
    made = Marked(text, "\x04" * len(text))
    for name in ("upper", "lower", "title", "capitalize", "casefold", "swapcase"):
        check(getattr(made, name)(), getattr(text, name)())
        assert set(getattr(made, name)().origin) <= {"\x04", "\x02"}
