"""A generated answer, sentence by sentence: which passages it cites, and whether they say so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.core.call import Citation, Note, Passage
from idiolect.retrieval.features import Terms
from idiolect.retrieval.support import Support, supported
from idiolect.retrieval.types import Embedder
from idiolect.text.sentences import sentences

MARK = re.compile(r"[\[【](\d{1,3}(?:\s*[,;]\s*\d{1,3})*)[\]】](?!\()")
_LEADING = re.compile(rf"(?:\s*{MARK.pattern})+\s*[.]?")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer, `text[span[0]:span[1]]`, with the passage numbers that it cites."""

    span: tuple[int, int]
    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim and what the support check says of it. `number` is the passage that came nearest."""

    claim: Claim
    support: Support
    number: int


def claims(text: str) -> list[Claim]:
    """The sentences that claim something. A mark behind the full stop belongs to the sentence before it."""
    spans: list[tuple[int, int]] = []
    for start, end in sentences(text):
        lead = _LEADING.match(text, start, end)
        at = start
        if lead and spans:
            spans[-1] = (spans[-1][0], lead.end())
            at = end - len(text[lead.end() : end].lstrip())
        if at < end:
            spans.append((at, end))
    found = []
    for a, b in spans:
        said = text[a:b]
        if _WORD.search(MARK.sub("", said)) and not said.lstrip().startswith("#"):
            numbers = [int(n) for m in MARK.finditer(said) for n in re.split(r"\D+", m[1]) if n]
            found.append(Claim((a, b), said, tuple(dict.fromkeys(numbers))))
    return found


def check(
    text: str, passages: Sequence[Passage], embedder: Embedder | None, *, question: str, terms: Terms
) -> list[Checked]:
    """Every claim against the passages that it cites; against all of them when it cites none that exists."""
    done = []
    for claim in claims(text):
        numbers = [n for n in claim.numbers if 1 <= n <= len(passages)] or list(range(1, len(passages) + 1))
        found = supported(claim.text, [passages[n - 1] for n in numbers], embedder, question=question, terms=terms)
        done.append(Checked(claim, found, numbers[found.passage]))
    return done


def citations(checked: Sequence[Checked], passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """One for each number that the answer cites, with the sentence of the passage that is nearest to what it is cited
    for. `supported` is False when any sentence that cites it is not borne out."""
    made = []
    for number, passage in enumerate(passages, start=1):
        citing = [c for c in checked if number in c.claim.numbers]
        if not citing:
            continue
        nearest = max((c for c in citing if c.number == number), key=lambda c: c.support.score, default=None)
        a, b = nearest.support.span if nearest is not None else (0, len(passage.text))
        span = (passage.span[0] + a, passage.span[0] + b)
        made.append(Citation(number, passage, passage.text[a:b], span, all(c.support.supported for c in citing)))
    return tuple(made)


def notes(checked: Sequence[Checked], passages: Sequence[Passage], index: int) -> list[Note]:
    """What a reader should know: sentences without support (with their place in the text), marks that point nowhere."""
    found = []
    for one in checked:
        data = {
            "index": index,
            "span": list(one.claim.span),
            "sentence": one.claim.text,
            "score": round(one.support.score, 4),
            "missing": list(one.support.missing),
        }
        if not one.support.supported:
            why = (
                f"not in the sources: {', '.join(one.support.missing)}" if one.support.missing else "no source says so"
            )
            found.append(Note("unsupported", why, data))
        wrong = [n for n in one.claim.numbers if not 1 <= n <= len(passages)]
        if wrong:
            marks = " ".join(f"[{n}]" for n in wrong)
            found.append(Note("bad_citation", f"{marks} points at no passage", data))
    if checked and not any(1 <= n <= len(passages) for one in checked for n in one.claim.numbers):
        found.append(Note("uncited", "the answer cites no passage", {"index": index}))
    return found
