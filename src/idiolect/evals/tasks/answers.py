"""Finding the answer in what a model wrote. Each extractor gets the whole text and returns the answer, or None when
there is none (the item is then wrong, not left out)."""

from __future__ import annotations

import re
from collections.abc import Callable

from idiolect.core.registry import Registry

Extractor = Callable[[str], str | None]
extractors: Registry[Extractor] = Registry("extractor")

_NUMBER = re.compile(r"-?\$?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\.\d+")
_FINAL = re.compile(r"####\s*([^\n]*)")
_SAID = re.compile(r"answer(?: is|:)?\s*:?\s*\**((?:(?!answer)[^\n])*)", re.IGNORECASE)


def number(text: str) -> str | None:
    """A number as plain digits: no currency, no thousands separators, no trailing point or zeros after the point."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    plain = re.sub(r"[$,\s]", "", found[0])
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    sign = "-" if plain.startswith("-") else ""
    digits = plain.lstrip("-")
    whole, point, rest = digits.partition(".")
    digits = (whole.lstrip("0") or "0") + point + rest
    return "0" if digits == "0" else sign + digits


@extractors.register("all")
def everything(text: str) -> str | None:
    """The whole text, without white space at its ends."""
    return text.strip()


@extractors.register("line")
def line(text: str) -> str | None:
    """The first line that is not blank."""
    return next((part.strip() for part in text.splitlines() if part.strip()), None)


@extractors.register("number")
def last_number(text: str) -> str | None:
    """The last number of the text."""
    found = _NUMBER.findall(text)
    return number(found[-1]) if found else None


@extractors.register("gsm8k")
def gsm8k(text: str) -> str | None:
    """The number after `####`; else the one after the last "answer is"; else the last number."""
    final = _FINAL.findall(text)
    if final and (value := number(final[0])) is not None:
        return value
    said = [value for part in _SAID.findall(text) if (value := number(part)) is not None]
    return said[-1] if said else last_number(text)


@extractors.register("letter")
def letter(text: str) -> str | None:
    """The letter of an option: alone, in brackets, or after "answer is"."""
    said = re.search(r"answer(?: is|:)?\s*:?\s*\**\(?([A-Z])\b", text) or re.search(r"\(([A-Z])\)", text)
    said = said or re.match(r"\s*\**([A-Z])(?:[).:*]|\s*(?:\n|$))", text)
    return said[1] if said else None


@extractors.register("word")
def word(text: str) -> str | None:
    """The first word, in lower case, without punctuation: the label of a classification."""
    found = re.search(r"\w[\w'-]*", text)
    return found[0].lower() if found else None


def extract(name: str, text: str) -> str | None:
    """By an extractor's name, or by a pattern written `/.../`, whose first group (else the match) is the answer."""
    if len(name) > 2 and name.startswith("/") and name.endswith("/"):
        found = re.search(name[1:-1], text)
        return None if found is None else (found[1] if found.groups() else found[0]).strip()
    return extractors.get(name)(text)
