"""Numbered passages and the conversation into a budget of tokens, exactly counted where a tokenizer is at hand.

What is left out goes in this order: the oldest turns, then the last passages. Nothing is cut in the middle of a word
unless one passage alone is too long. What was left out is said in words, for `Prompted.trimmed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from idiolect.core import prompts
from idiolect.core.call import Message, Passage
from idiolect.core.errors import ContextOverflow
from idiolect.retrieval.candidates import about

Count = Callable[[Sequence[Message]], int]
"""Tokens that a model reads for these messages."""

_MARKER = re.compile(r"\s*\[\d+\](?!\()")
LEAST_CUT = 200  # characters; a passage is never shortened below this


@dataclass(frozen=True, slots=True)
class Packed:
    """A prompt that fits. `passages[i]` has the number i + 1 in it."""

    messages: tuple[Message, ...]
    passages: tuple[Passage, ...]
    tokens: int
    trimmed: str


def numbered(passages: Sequence[Passage]) -> str:
    """The passages as one block, numbered from 1."""
    one = prompts.load("rag/passage")
    return "\n\n".join(one.text(number=i, context=about(p), text=p.text.strip()) for i, p in enumerate(passages, 1))


def estimate(messages: Sequence[Message]) -> int:
    """A bound for models whose tokenizer is not here: a token per three bytes of text, and eight for each turn."""
    return sum(len(m.content.encode()) // 3 + 8 for m in messages)


def history(messages: Sequence[Message]) -> tuple[list[Message], str, bool]:
    """The turns before the last user turn, without citation marks (they would point at other passages); the user's own
    system text; whether the assistant spoke first, which templates refuse, so that those turns are left out."""
    own = "\n".join(m.content for m in messages if m.role == "system")
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=len(messages))
    turns = [
        Message(m.role, _MARKER.sub("", m.content) if m.role == "assistant" else m.content)
        for m in messages[:last]
        if m.role in ("user", "assistant") and m.content.strip()
    ]
    first = next((i for i, m in enumerate(turns) if m.role == "user"), len(turns))
    return turns[first:], own, first > 0


def pack(
    question: str,
    passages: Sequence[Passage],
    messages: Sequence[Message],
    *,
    count: Count,
    budget: int,
    passage_budget: int,
    length: int,
    expertise: int,
) -> Packed:
    """The answer prompt in at most `budget` tokens, of which the passages take about `passage_budget` at most. Raises
    `ContextOverflow` when the question alone does not fit."""
    turns, own, greeted = history(messages)
    kept = list(passages)
    prompt = prompts.load("rag/answer")

    def build(turns: Sequence[Message], passages: Sequence[Passage]) -> tuple[Message, ...]:
        made = prompt.messages(
            question=question, passages=numbered(passages), length=length, expertise=expertise, instructions=own
        )
        return (made[0], *turns, *made[1:])

    bare = count(build((), ()))
    if bare > budget:
        raise ContextOverflow(
            f"the question alone has {bare} tokens of prompt, and {budget} fit", hint="shorten it", param="messages"
        )
    limit = min(budget, bare + passage_budget)
    while len(kept) > 1 and count(build((), kept)) > limit:
        kept.pop()
    cut = False
    while kept and count(build((), kept)) > limit:  # one passage alone is too long
        cut = True
        shorter = _shorten(kept[0])
        kept = [shorter] if shorter is not None else []
    dropped = 0
    while turns and count(build(turns, kept)) > budget:
        size = 2 if len(turns) > 1 and turns[1].role == "assistant" else 1
        dropped += size
        turns = turns[size:]
    said = []
    if dropped:
        said.append(f"the {dropped} oldest turns were left out")
    if len(kept) < len(passages):
        said.append(f"{len(passages) - len(kept)} of {len(passages)} passages were left out")
    if cut and kept:
        said.append("the passage was shortened")
    final = build(turns, kept)
    trimmed = f"{', '.join(said)} to fit {budget} tokens" if said else ""
    if greeted:
        trimmed = "; ".join(
            ["what the assistant said before the first question was left out", *([trimmed] * bool(said))]
        )
    return Packed(final, tuple(kept), count(final), trimmed)


def _shorten(passage: Passage) -> Passage | None:
    """The first three quarters of a passage, at a word's end; None when little is left."""
    keep = passage.text[: len(passage.text) * 3 // 4]
    if len(keep) < LEAST_CUT:
        return None
    keep = keep[: keep.rfind(" ")] if " " in keep else keep
    return Passage(
        passage.id,
        passage.document,
        keep,
        (passage.span[0], passage.span[0] + len(keep)),
        passage.heading,
        passage.page,
        passage.score,
        passage.scores,
        passage.freshness,
    )
