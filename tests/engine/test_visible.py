"""Laws of held-back text: no cut into tokens changes what is seen, and no stop string is ever seen."""

from __future__ import annotations

import codecs
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from idiolect.core.call import TokenInfo
from idiolect.engine.visible import VisibleText


class Pieces:
    """A decoder over byte pieces: token i is `pieces[i]`."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        return self.decoder.decode(self.pieces[token])

    def flush(self) -> str:
        return self.decoder.decode(b"", True)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in pairwise(edges)] or [b""]


text = st.text(alphabet="abcé😀 ", max_size=30)
stops = st.lists(st.text(alphabet="abcé😀", min_size=1, max_size=4), max_size=3).map(tuple)


@settings(max_examples=400, deadline=None)
@given(text, stops, st.lists(st.integers(0, 200), max_size=20))
@example("aab", ("ab",), [1, 2])
@example("aé", ("é",), [2])
@example("abc", ("abc", "b"), [])
def test_any_split_shows_the_text_up_to_the_first_stop(whole: str, stop: tuple[str, ...], places: list[int]) -> None:
    pieces = cut(whole.encode(), places)
    seen = VisibleText(Pieces(pieces), stop)
    shown, tokens, steps = "", [], []
    for i, piece in enumerate(pieces):
        more, infos = seen.push(TokenInfo(i, "", raw=piece), last=i == len(pieces) - 1)
        assert more == "".join(t.text for t in infos)
        shown += more
        tokens += infos
        steps.append(shown)
        if seen.stopped:
            break
    ends = [(whole.find(s) + len(s), whole.find(s)) for s in stop if s in whole]
    if ends:
        assert seen.stopped and shown == whole[: min(ends)[1]]  # up to the stop string that is complete first
    else:
        assert not seen.stopped and shown == whole
        assert [t.id for t in tokens] == list(range(len(pieces)))
    for part in steps:  # nothing that was shown is taken back
        assert shown.startswith(part)


def test_a_token_that_straddles_a_stop_keeps_its_visible_part() -> None:
    seen = VisibleText(Pieces([b"one ", b"two#", b"# three"]), ("##",))
    assert seen.push(TokenInfo(0, "", raw=b"one "))[0] == "one "
    assert seen.push(TokenInfo(1, "", raw=b"two#")) == ("", ())
    text, tokens = seen.push(TokenInfo(2, "", raw=b"# three"))
    assert (text, seen.stopped) == ("two", True)
    assert [(t.id, t.text, t.raw) for t in tokens] == [(1, "two", b"two")]


def test_half_a_character_at_the_end_is_shown_as_a_replacement() -> None:
    seen = VisibleText(Pieces(["é".encode()[:1]]))
    text, tokens = seen.push(TokenInfo(0, "", raw=b"\xc3"), last=True)
    assert text == "�" and [t.text for t in tokens] == ["�"]
