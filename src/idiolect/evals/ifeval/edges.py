"""How a response begins and ends, and the sign that it must do without."""

from __future__ import annotations

from idiolect.evals.ifeval.instruction import INSTRUCTIONS


@INSTRUCTIONS.register("startend:end_checker")
def end_checker(response: str, /, *, end_phrase: str) -> bool:
    """The last words are the phrase, case and quotation marks around the response apart."""
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@INSTRUCTIONS.register("startend:quotation")
def quotation(response: str, /) -> bool:
    """All of the response stands in double quotation marks."""
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@INSTRUCTIONS.register("punctuation:no_comma")
def no_comma(response: str, /) -> bool:
    """Not one comma."""
    return "," not in response
