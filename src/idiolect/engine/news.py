"""What steps chose and nobody was told yet: it becomes text and outputs while the next step computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from idiolect.core.call import FinishReason, TokenInfo
from idiolect.engine.sampling import Likely
from idiolect.engine.sequence import Output, Sequence
from idiolect.engine.words import Words

Shown = tuple[str, tuple[TokenInfo, ...]]  # visible text and the tokens behind it


class News:
    """First in, first out. Every piece is taken before its sequence chooses again, so usage is that of its token."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._due: deque[tuple[Sequence, FinishReason | None, Shown | None, int, Likely | None, bool]] = deque()

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(
        self,
        seq: Sequence,
        finish: FinishReason | None,
        shown: Shown | None,
        token: int = 0,
        likely: Likely | None = None,
        ends: bool = False,
    ) -> None:
        """`shown` is known already, or is what `token` will show. `ends`: the token ends the turn and shows nothing."""
        self._due.append((seq, finish, shown, token, likely, ends))

    def show(self, seq: Sequence, token: int, likely: Likely | None, ends: bool, last: bool) -> Shown:
        """What becomes visible with a token."""
        assert seq.visible is not None
        return seq.visible.push(self._words.info(token, likely, silent=ends), silent=ends, last=last)

    def take(self) -> Iterator[tuple[Sequence, Output]]:
        while self._due:
            seq, finish, shown, token, likely, ends = self._due.popleft()
            text, tokens = shown or self.show(seq, token, likely, ends, finish is not None)
            yield seq, Output(seq.id, text, tokens, finish, seq.usage(), seq.metrics, None, seq.n_index)
