"""What says whether passages bear a statement out: a rule, an entailment model, or a judge.

A check takes (statement, passages) pairs and gives True, False or None (could not tell) for each. `retrieval.support`
has one without a model; `judged` makes one of a judge, and remembers how its verdicts could be read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Validity
from idiolect.evals.judges.pointwise import valid
from idiolect.evals.judges.read import Verdict

Pairs = Sequence[tuple[str, Sequence[str]]]
Check = Callable[[Pairs], Awaitable[list[bool | None]]]

LABELS = {"S": 1.0, "N": 0.0, "C": -1.0}  # supported, not mentioned, contradicted


class JudgedCheck:
    """A judge as a check. `validity` is that of all that it was asked so far."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.verdicts: list[Verdict] = []

    async def __call__(self, pairs: Pairs) -> list[bool | None]:
        inputs = [{"statement": s, "passages": "\n\n".join(passages)} for s, passages in pairs]
        found = await self.judge.verdicts("grounding/supported", inputs, LABELS)
        self.verdicts += found
        return [v.label == "S" if v.parsed else None for v in found]

    @property
    def validity(self) -> Validity:
        return valid(self.judge.known_as, self.verdicts)


def rule(check: Callable[[str, Sequence[str]], bool]) -> Check:
    """A plain function of a statement and its passages as a check."""

    async def run(pairs: Pairs) -> list[bool | None]:
        return [check(statement, passages) for statement, passages in pairs]

    return run
