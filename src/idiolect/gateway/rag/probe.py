"""Can this model be trusted to answer in its own words? Twenty small reading tasks say so, once for each model.

Every task has three passages, one question and a wrong answer that stands in another passage: exactly the slip that
makes free answers of a tiny model worthless (a word of the wrong passage, told with confidence). The prompt is the
very prompt of generate mode. A task counts when the right answer is in the reply and the wrong one is not. The model
may generate when the lower end of the 95% Wilson interval of its accuracy is at least `PASS`.

The result is kept under the state directory, by the hash of weights, prompt and tasks, so a model is asked only once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.core import prompts, yamls
from idiolect.core.call import Message, Passage
from idiolect.core.files import atomic_write, state_dir
from idiolect.evals.stats import wilson
from idiolect.gateway.rag.pack import numbered

PASS = 0.7  # 19 of 20 have a lower end of 0.76, 18 of 20 of 0.699
MOST_TOKENS = 24
TASKS = prompts.ROOT / "rag" / "probe.yaml"

Answer = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""Greedy replies of at most `MOST_TOKENS` tokens to each conversation."""


@dataclass(frozen=True, slots=True)
class Probe:
    """`right` of `n` tasks; `low` and `high` bound the accuracy (95%, Wilson 1927)."""

    right: int
    n: int

    @property
    def low(self) -> float:
        return wilson(self.right, self.n).low

    @property
    def high(self) -> float:
        return wilson(self.right, self.n).high

    @property
    def passed(self) -> bool:
        return self.low >= PASS

    @property
    def why(self) -> str:
        return (
            f"the model answered {self.right} of {self.n} reading tasks right "
            f"(95% interval {self.low:.2f} to {self.high:.2f}; generating needs a lower end of {PASS:g})"
        )


def tasks() -> list[dict[str, Any]]:
    """The tasks: `passages`, `question`, `answer` and `wrong` (texts, any of which decides)."""
    found = yamls.parse(TASKS.read_text("utf-8"), "the probe")
    return list(found)


def conversations() -> list[tuple[Message, ...]]:
    """The prompt of each task."""
    prompt = prompts.load("rag/answer")
    made = []
    for task in tasks():
        passages = [Passage(str(i), f"note {i}", text, (0, len(text))) for i, text in enumerate(task["passages"], 1)]
        made.append(prompt.messages(question=task["question"], passages=numbered(passages), length=1, expertise=3))
    return made


def judge(replies: Sequence[str]) -> Probe:
    """How many replies hold a right answer and no wrong one. Citation marks are not read."""
    right = 0
    for task, reply in zip(tasks(), replies, strict=True):
        said = re.sub(r"\[\d+\]", " ", reply)
        right += _holds(said, task["answer"]) and not _holds(said, task["wrong"])
    return Probe(right, len(replies))


def _holds(text: str, words: Sequence[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(w)}", text, re.IGNORECASE) for w in words)


def measured(weights: str, answer: Answer, folder: Path | None = None) -> Probe:
    """The probe of the model whose weights have this hash: kept from before, or run now with `answer`."""
    asked = conversations()
    parts = [weights, TASKS.read_text("utf-8"), *(m.content for turns in asked for m in turns)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    file = (folder or state_dir() / "probes") / f"{key}.json"
    try:
        kept = json.loads(file.read_text("utf-8"))
        return Probe(int(kept["right"]), int(kept["n"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never run, or half a file: run it
    found = judge(answer(asked))
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        out.write(json.dumps({"right": found.right, "n": found.n}).encode())
    return found
