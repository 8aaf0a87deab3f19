"""What a reader may see: text held back while it could still become a stop string.

Law: however the text is cut into tokens, the visible text is the whole text up to the first stop string, and never a
character of the stop string; and the texts of the tokens that were let out spell exactly the visible text.
"""

from __future__ import annotations

from dataclasses import replace

from idiolect.core.call import TokenInfo
from idiolect.text.tokenizer import Decoder


class VisibleText:
    """Feeds tokens through a decoder and releases what is certain. `stopped` is set when a stop string appeared."""

    def __init__(self, decoder: Decoder, stops: tuple[str, ...] = ()) -> None:
        self._decoder = decoder
        self._stops = tuple(s for s in stops if s)
        self._held = ""  # decoded, not yet visible
        self._tokens: list[TokenInfo] = []  # behind `_held`; their texts spell it
        self.stopped = False

    def push(self, token: TokenInfo, *, silent: bool = False, last: bool = False) -> tuple[str, tuple[TokenInfo, ...]]:
        """Add a token (its `text` is filled in here); returns the newly visible text and the tokens behind it.
        `silent`: it ends the generation and shows nothing. `last`: nothing follows, so nothing is held back; half a
        character that is left becomes U+FFFD."""
        text = "" if silent else self._decoder.push(token.id)
        if text and not last and not self._stops and not self._tokens:  # nothing to hold back, as nearly always
            return text, (TokenInfo(token.id, text, token.logprob, token.top, token.raw),)
        if last:
            text += self._decoder.flush()
        self._tokens.append(replace(token, text=text))
        self._held += text
        if self._cut() or last:
            return self.flush()
        return self._release(len(self._held) - self._maybe())

    def flush(self) -> tuple[str, tuple[TokenInfo, ...]]:
        """Let out everything held back: no stop string can follow."""
        text, self._held = self._held, ""
        tokens, self._tokens = tuple(self._tokens), []
        return text, tokens

    def _cut(self) -> bool:
        """Drop a stop string in the held text and all behind it. Of several, the one that is complete first counts
        (then the longest), so that it does not matter how many of them one token brings."""
        found = [(i + len(s), i) for s in self._stops if (i := self._held.find(s)) >= 0]
        if not found:
            return False
        at = min(found)[1]
        self.stopped = True
        self._held = self._held[:at]
        kept: list[TokenInfo] = []
        for token in self._tokens:
            if at <= 0:
                break
            if len(token.text) > at:
                part = token.text[:at]
                token = replace(token, text=part, raw=part.encode())  # noqa: PLW2901
            kept.append(token)
            at -= len(token.text)
        self._tokens = kept
        return True

    def _maybe(self) -> int:
        """Length of the longest end of the held text that begins some stop string."""
        longest = 0
        for stop in self._stops:
            for n in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:n]):
                    longest = n
                    break
        return longest

    def _release(self, end: int) -> tuple[str, tuple[TokenInfo, ...]]:
        """Let out whole tokens whose text lies before `end`; a token is never split before a stop is certain.
        A token without text waits for the one that completes its character."""
        at, n = 0, 0
        for i, token in enumerate(self._tokens):
            at += len(token.text)
            if at > end:
                break
            if token.text or not token.raw:
                n = i + 1
        tokens, self._tokens = tuple(self._tokens[:n]), self._tokens[n:]
        text = "".join(t.text for t in tokens)
        self._held = self._held[len(text) :]
        return text, tokens
