"""Strict and loose verdicts on one response (Zhou et al. 2023, section 2.3).

Strict: the response as it is. Loose: any of eight versions of it (without its first line, its last line, or both, each
with and without Markdown's stars), since a model that says "Sure, here it is:" has still followed the instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.evals.ifeval.instruction import follows


@dataclass(frozen=True, slots=True)
class Verdict:
    """For each instruction of a prompt: was it followed, read strictly and loosely."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    @property
    def all_strict(self) -> bool:
        """The prompt-level verdict."""
        return all(self.strict)

    @property
    def all_loose(self) -> bool:
        return all(self.loose)


def versions(response: str) -> list[str]:
    """The response, and what is left of it when the wrapping is taken off; each once."""
    lines = response.split("\n")
    cut = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*cut, *(text.replace("*", "") for text in cut)]))


def verdict(response: str, names: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge one response by the instructions of its prompt (`instruction_id_list` and `kwargs` of the data set)."""
    if len(names) != len(arguments):
        raise BadInput(f"{len(names)} instructions have {len(arguments)} sets of arguments", hint="give one each")
    pairs = list(zip(names, arguments, strict=True))
    strict = tuple(follows(name, response, given) for name, given in pairs)
    others = versions(response)[1:]
    loose = tuple(
        ok or any(follows(name, text, given) for text in others)
        for ok, (name, given) in zip(strict, pairs, strict=True)
    )
    return Verdict(strict, loose)
