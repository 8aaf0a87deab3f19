"""A response that is made of parts: the request repeated before the answer, or two answers."""

from __future__ import annotations

from idiolect.evals.ifeval.instruction import INSTRUCTIONS


@INSTRUCTIONS.register("combination:repeat_prompt")
def repeat_prompt(response: str, /, *, prompt_to_repeat: str) -> bool:
    """The response begins with the request, word for word (case apart)."""
    return response.strip().lower().startswith(prompt_to_repeat.strip().lower())


@INSTRUCTIONS.register("combination:two_responses")
def two_responses(response: str, /) -> bool:
    """Two different answers with six stars between them; nothing empty between dividers."""
    parts = [part.strip() for part in response.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]
