"""The language that a response must be in."""

from __future__ import annotations

from idiolect.evals.ifeval import detect
from idiolect.evals.ifeval.instruction import INSTRUCTIONS


@INSTRUCTIONS.register("language:response_language")
def response_language(response: str, /, *, language: str) -> bool:
    """All of the response is in one language; a text without letters passes."""
    return detect.language(response) in (language, None)
