"""Pieces that a response must contain: placeholders and a postscript."""

from __future__ import annotations

import re

from idiolect.evals.ifeval.instruction import INSTRUCTIONS

_PLACEHOLDER = re.compile(r"\[.*?\]")
_POSTSCRIPTS = {"p.p.s": r"p\.\s?p\.\s?s", "p.s.": r"p\.\s?s\."}


@INSTRUCTIONS.register("detectable_content:number_placeholders")
def number_placeholders(response: str, /, *, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets, such as [address]."""
    return len(_PLACEHOLDER.findall(response)) >= num_placeholders


@INSTRUCTIONS.register("detectable_content:postscript")
def postscript(response: str, /, *, postscript_marker: str) -> bool:
    """The marker occurs; a space between the letters of "P.S." and "P.P.S" is allowed."""
    marker = postscript_marker.strip().lower()
    return re.search(_POSTSCRIPTS.get(marker, re.escape(marker)), response.lower()) is not None
