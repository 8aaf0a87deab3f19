"""Judges whose preferences are known: real handlers that read the very prompt and answer by a rule."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Started, TokenInfo, Usage
from idiolect.evals.judges import Judge

Rule = Callable[[str], Mapping[str, float] | str]


def between(text: str, begin: str, end: str) -> str:
    found = re.search(rf"{re.escape(begin)}\n(.*?)\n\n{re.escape(end)}", text, re.DOTALL)
    assert found is not None, text
    return found[1]


@dataclass
class Program:
    """Answers with what `rule` gives for the user's message: a text, or a distribution over answers, of which the
    likeliest is said and all are told as log-probabilities (unless `silent`)."""

    rule: Rule
    silent: bool = False
    calls: int = 0

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        self.calls += 1
        found = self.rule(call.messages[-1].content)
        yield Started("x", "program", 0.0)
        if isinstance(found, str):
            yield Delta(found)
        else:
            total = sum(found.values())
            top = tuple((i, text, math.log(p / total)) for i, (text, p) in enumerate(found.items()) if p > 0)
            best = max(top, key=lambda t: t[2])
            yield Delta(best[1], 0, () if self.silent else (TokenInfo(best[0], best[1], best[2], top),))
        yield Finished("stop", Usage(1, 1))


def prefers(quality: Callable[[str], float], first: float = 0.0, longer: float = 0.0) -> Rule:
    """P(A) is logistic in the difference of quality, plus `first` for the place and `longer` a log ratio of length."""

    def rule(message: str) -> Mapping[str, float]:
        a, b = between(message, "[A]", "[B]"), between(message, "[B]", "Write")
        odds = quality(a) - quality(b) + first + longer * math.log(len(a) / len(b))
        p = 1 / (1 + math.exp(-odds))
        return {"A": p, "B": 1 - p}

    return rule


def judge(rule: Rule, name: str = "program", silent: bool = False) -> Judge:
    return Judge(Program(rule, silent), "program", name)
