"""The shape of a response: bullets, highlights, sections, a title, JSON, one of a few allowed answers."""

from __future__ import annotations

import json
import re

from idiolect.evals.ifeval.instruction import INSTRUCTIONS

_STAR_BULLET = re.compile(r"^\s*\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^\s*-.*$", re.MULTILINE)
_ONE_STAR = re.compile(r"\*[^\n*]*\*")
_TWO_STARS = re.compile(r"\*\*[^\n*]*\*\*")
_TITLE = re.compile(r"<<[^\n]+>>")
_FENCES = ("```json", "```Json", "```JSON", "```")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@INSTRUCTIONS.register("detectable_format:number_bullet_lists")
def number_bullet_lists(response: str, /, *, num_bullets: int) -> bool:
    """Exactly so many bullet points, `* ` or `-` at the beginning of a line."""
    return len(_STAR_BULLET.findall(response)) + len(_DASH_BULLET.findall(response)) == num_bullets


@INSTRUCTIONS.register("detectable_format:number_highlighted_sections")
def number_highlighted_sections(response: str, /, *, num_highlights: int) -> bool:
    """At least so many pieces between stars, *so* or **so**, with something inside."""
    found = [piece.strip("*") for piece in _ONE_STAR.findall(response)]
    found += [piece[2:-2] for piece in _TWO_STARS.findall(response)]
    return sum(bool(piece.strip()) for piece in found) >= num_highlights


@INSTRUCTIONS.register("detectable_format:multiple_sections")
def multiple_sections(response: str, /, *, section_spliter: str, num_sections: int) -> bool:
    """At least so many headings of a section: the word and a number."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", response)) >= num_sections


@INSTRUCTIONS.register("detectable_format:title")
def title(response: str, /) -> bool:
    """A title in double angular brackets, such as <<poem of joy>>."""
    return any(found.lstrip("<").rstrip(">").strip() for found in _TITLE.findall(response))


@INSTRUCTIONS.register("detectable_format:json_format")
def json_format(response: str, /) -> bool:
    """All of the response is JSON; a code fence around it is allowed."""
    text = response.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@INSTRUCTIONS.register("detectable_format:constrained_response")
def constrained_response(response: str, /) -> bool:
    """One of the three answers that the prompts offer occurs word for word."""
    return any(answer in response for answer in _ANSWERS)
