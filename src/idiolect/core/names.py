"""The nearest known name to a mistyped one, for every "did you mean" in the project."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name` (case and `-`/`_` do not count), or None when nothing is close."""
    plain: dict[str, str] = {}
    for candidate in known:
        plain.setdefault(_fold(candidate), candidate)
    found = difflib.get_close_matches(_fold(name), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint in words: the nearest name, else the whole list (its first twenty)."""
    options = sorted(known)
    close = nearest(name, options)
    if close is not None:
        return f"did you mean {close!r}?"
    if not options:
        return "there are none"
    more = f", and {len(options) - 20} more" if len(options) > 20 else ""
    return f"there are: {', '.join(options[:20])}{more}"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
