"""An answer taken apart into self-contained statements, each checked by itself (SAFE: Wei et al. 2024,
arXiv:2403.18802; Min et al. 2023, "FActScore", arXiv:2305.14251).

A model splits each sentence into single facts and rewrites each so that it stands alone; a check then says of each
whether the passages (of the answer's own, or found for the statement) bear it out. Whoever splits is a judge too: what
it loses or invents is not seen by the check, so the figure stands beside its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from idiolect.core.errors import BadInput
from idiolect.evals.grounding.checks import Check, JudgedCheck
from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Judged, Validity
from idiolect.evals.judges.read import measured
from idiolect.evals.stats.estimate import Estimate
from idiolect.text.sentences import sentences

Find = Callable[[str], Awaitable[Sequence[str]]]
"""The passages to check a statement against: a search, or a constant."""

_ITEM = re.compile(r"^\s*(?:[-*•–]|\d{1,3}[.)])\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact of the answer. `supported` None: it could not be told."""

    sentence: str
    fact: str
    alone: str
    supported: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All statements of one answer."""

    statements: tuple[Statement, ...]

    @property
    def precision(self) -> float:
        """Supported statements over those that could be told; NaN without one."""
        told = [s.supported for s in self.statements if s.supported is not None]
        return sum(told) / len(told) if told else math.nan

    def f1(self, wanted: int) -> float:
        """SAFE's F1@K: recall is supported statements over `wanted`, at most 1; 0 when nothing is supported."""
        if wanted < 1:
            raise BadInput(f"wanted is {wanted}", hint="give how many facts a reader wants, at least 1")
        right = sum(s.supported is True for s in self.statements)
        if not right:
            return 0.0
        recall = min(1.0, right / wanted)
        return 2 * self.precision * recall / (self.precision + recall)


async def split(judge: Judge, text: str) -> list[tuple[str, str]]:
    """(sentence, fact) for every fact of the text, in order."""
    parts = [text[a:b] for a, b in sentences(text)]
    done = await judge.ask("grounding/split", [{"sentence": part} for part in parts])
    return [(part, fact) for part, said in zip(parts, done, strict=True) for fact in items(said.text)]


def items(text: str) -> list[str]:
    """The items of a list, without their marks; other lines are no items."""
    found = [m[1] for line in text.splitlines() if (m := _ITEM.match(line))]
    return [fact for fact in found if fact]


async def facts(judge: Judge, question: str, answer: str, check: Check, find: Find) -> Facts:
    """Split an answer, make each fact stand alone, and check it against what `find` gives for it."""
    parts = await split(judge, answer)
    inputs = [{"statement": fact, "question": question, "answer": answer} for _, fact in parts]
    alone = [
        said.text.strip() or fact
        for said, (_, fact) in zip(await judge.ask("grounding/contextualise", inputs), parts, strict=True)
    ]
    held = await check([(statement, await find(statement)) for statement in alone])
    rows = zip(parts, alone, held, strict=True)
    return Facts(tuple(Statement(sentence, fact, own, ok) for (sentence, fact), own, ok in rows))


def summary(found: Sequence[Facts], judge: Judge, check: Check) -> Judged[Estimate]:
    """The mean precision over answers. Its validity: who split, and how the check's verdicts could be read."""
    statements = [s for f in found for s in f.statements]
    split_by = Validity(f"{judge.known_as} (splitting)", len(statements), sum(s.supported is None for s in statements))
    checked = [check.validity] if isinstance(check, JudgedCheck) else []
    return Judged(measured([f.precision for f in found]), split_by, *checked)
