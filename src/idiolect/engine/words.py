"""Tokens as readers see them: text, bytes and log-probabilities."""

from __future__ import annotations

from idiolect.core.call import TokenInfo
from idiolect.engine.sampling import Likely
from idiolect.text.hf import HFTokenizer


class Words:
    """The texts of single tokens, remembered."""

    def __init__(self, tokenizer: HFTokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def text(self, token: int) -> str:
        """The text of one token by itself; a control token's name; U+FFFD for a part of a character."""
        text = self._texts.get(token)
        if text is None:
            raw = self._tokenizer.token_bytes(token)
            text = raw.decode("utf-8", "replace") if raw else self._tokenizer.piece(token)
            self._texts[token] = text
        return text

    def info(self, token: int, likely: Likely | None, text: str = "", *, silent: bool = False) -> TokenInfo:
        raw = b"" if silent else self._tokenizer.token_bytes(token)
        if likely is None:
            return TokenInfo(token, text, raw=raw)
        top = tuple((i, self.text(i), value) for i, value in likely.top)
        return TokenInfo(token, text, likely.logprob, top, raw)
