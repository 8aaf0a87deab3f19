"""Follow-up questions that stand alone: "When was it built?" after "Who designed the old mill?".

The rule: a question that leans on the conversation (a pronoun, an opening like "and" or "what about", or no topic word
of its own) is searched for together with the topic words of the user's turns before it. It can only add words that
the user said, so it is safe with any model. A model that passed the probe rewrites the question itself
(prompts/rag/rewrite.md); what comes back is used only when it looks like a question and not like an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from idiolect.core.call import Message
from idiolect.retrieval.features import Terms, topical
from idiolect.retrieval.tokenise import STOP_WORDS

MOST_ADDED = 8  # words
MOST_REWRITTEN = 400  # characters of a model's rewrite
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|hers?|this|that|these|those|there|one|ones|same|former|latter"
    r"|another|others?|such)\b",
    re.IGNORECASE,
)
_NOT_A_REFERENCE = re.compile(
    r"\b(?:is|are|was|were|will|does|do|how many|has|have) there\b|\bthere (?:is|are|was|were)\b|\bthat (?:is|was|are"
    r"|were|has|have|had|can|could|will|would)\b|\bwhat time is it\b|\b(?:which|what) one\b|\bone of the\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"\s*(?:and|but|so|also|then|what about|how about|why|why not|how so|or|more|go on)\b", re.IGNORECASE
)
_WORDS = re.compile(r"[\w'’\-]+")
_MARKER = re.compile(r"\s*\[\d+\]")


def leans(question: str, terms: Terms) -> bool:
    """Whether the question cannot be understood without what was said before."""
    if _PRONOUN.search(_NOT_A_REFERENCE.sub(" ", question)):
        return True
    own = set(topical(terms, question))
    return len(own) <= 1 or (bool(_OPENING.match(question)) and len(own) <= 4)


def has_topic(question: str, terms: Terms) -> bool:
    """Whether the question has a word of its own that is no function word and no pronoun."""
    own = " ".join(w for w in _WORDS.findall(question) if not _PRONOUN.fullmatch(w) and w.lower() not in STOP_WORDS)
    return bool(terms(own))


def standalone(messages: Sequence[Message], terms: Terms) -> tuple[str, bool]:
    """The last user turn as a query, and whether words of earlier turns were added to it."""
    turns = [m.content for m in messages if m.role == "user"]
    if not turns:
        return "", False
    question = turns[-1]
    if len(turns) == 1 or not leans(question, terms):
        return question, False
    have = set(terms(question))
    added: list[str] = []
    for turn in reversed(turns[:-1]):
        topics = set(topical(terms, turn))
        for word in _WORDS.findall(turn):
            mine = [] if _PRONOUN.fullmatch(word) else terms(word)
            if mine and topics.issuperset(mine) and not have.issuperset(mine):
                have.update(mine)
                added.append(word)
        if not leans(turn, terms) or len(added) >= MOST_ADDED:
            break
    return (f"{question} ({' '.join(added[:MOST_ADDED])})", True) if added else (question, False)


def transcript(messages: Sequence[Message], most: int = 6) -> str:
    """The turns before the last one, one line each, without citation marks; the newest `most` of them."""
    lines = [
        f"{m.role}: {' '.join(_MARKER.sub('', m.content).split())}"
        for m in messages[:-1]
        if m.role in ("user", "assistant") and m.content.strip()
    ]
    return "\n".join(line[:500] for line in lines[-most:])


def acceptable(text: str) -> str | None:
    """A model's rewrite, cleaned; None when it is empty, long, several lines or no question."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) != 1 or not 3 <= len(lines[0]) <= MOST_REWRITTEN or not lines[0].endswith(("?", "？", "؟", ".")):
        return None
    return lines[0]
