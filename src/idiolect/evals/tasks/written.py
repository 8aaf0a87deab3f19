"""Answers in words: what the model writes, what is taken from it, and how that is graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from idiolect.core import config as configuration
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.evals.metrics.bleu import of_parts, parts
from idiolect.evals.metrics.chrf import sentence_chrf
from idiolect.evals.metrics.edit import edit_similarity
from idiolect.evals.metrics.exact import exact_match
from idiolect.evals.metrics.f1 import token_f1
from idiolect.evals.metrics.rouge import rouge_l
from idiolect.evals.tasks.answers import extract, number
from idiolect.evals.tasks.base import PerDocument, Record, wrong_reply
from idiolect.evals.tasks.choose import of_labels
from idiolect.evals.tasks.templates import evaluate
from idiolect.evals.types import Columns, Generate, Generated, Grade, Item, Metric, Reply

References = Sequence[str]
Grader = Callable[[str, References], float]


def _same(said: str, references: References) -> float:
    return float(any(said.strip() == one.strip() for one in references))


def _contains(said: str, references: References) -> float:
    return float(any(one.strip().lower() in said.lower() for one in references))


def _number(said: str, references: References) -> float:
    value = number(said)
    return float(value is not None and any(value == number(one) for one in references))


GRADERS: dict[str, tuple[Grader, Metric]] = {
    "same": (_same, Metric("same", about="the answer is the reference, character for character")),
    "exact_match": (exact_match, Metric("exact_match", about="the same without case, articles and punctuation")),
    "contains": (_contains, Metric("contains", about="the reference stands somewhere in the answer")),
    "number": (_number, Metric("number", about="the same number")),
    "f1": (token_f1, Metric("f1", about="words in common")),
    "edit": (
        lambda said, refs: max(edit_similarity(said, one) for one in refs),
        Metric("edit", about="1 - edit distance / length of the longer"),
    ),
    "rouge_l": (
        lambda said, refs: float(rouge_l(said, refs).f1),
        Metric("rouge_l", about="longest common subsequence"),
    ),
    "chrf": (
        lambda said, refs: sentence_chrf(said, refs) / 100,
        Metric("chrf", about="character n-grams (sacrebleu), averaged over sentences"),
    ),
}
CORPUS = {
    "bleu": Metric("bleu", share=False, about="sacrebleu's corpus BLEU, 0 to 100"),
    "macro_f1": Metric("macro_f1", about="F1 of each label, averaged"),
}
ANSWERED = Metric("answered", about="an answer could be found in the text")


class GenerateTask(PerDocument):
    """`extract` takes the answer from the text, `metrics` grade it against `target` (a text, or a list of them)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names = self.config.metrics or ("exact_match",)
        for name in self.names:
            if name not in GRADERS and name not in CORPUS:
                hint = did_you_mean(name, [*GRADERS, *CORPUS])
                raise BadInput(f"a generate task has no metric {name!r}", hint=hint, param="metrics")
        found = [GRADERS[name][1] if name in GRADERS else CORPUS[name] for name in self.names]
        self.metrics = tuple(found) if self.config.extract == "all" else (*found, ANSWERED)
        self.sampling = configuration.from_dict(
            Sampling, {"temperature": 0.0, "max_tokens": 256, **self.config.sampling}, "sampling"
        )
        extract(self.config.extract, "")  # an unknown name shows now

    def item(self, row: Record) -> Item:
        asked = self.asked(row)
        if isinstance(asked, str):
            request = Generate(prompt=asked, sampling=self.sampling)
        else:
            request = Generate(messages=asked, sampling=self.sampling)
        target = evaluate(self.config.target, row, f"{self.name}: target")
        return Item(self.id_of(row), request, target, self.meta_of(row))

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Generated):
            raise wrong_reply(item, reply)
        said = extract(self.config.extract, reply.text)
        target = item.target if isinstance(item.target, (list, tuple)) else [item.target]
        references = [str(one) for one in target]
        grade = {"answered": float(said is not None)}
        for name in self.names:
            if name in GRADERS:
                grade[name] = 0.0 if said is None else float(GRADERS[name][0](said, references))
        if "bleu" in self.names:
            grade |= {f"_bleu{i}": float(v) for i, v in enumerate(parts(said or "", references))}
        if "macro_f1" in self.names:
            labels = self._labels
            grade["_said"] = float(labels.get((said or "").strip().lower(), -1))
            grade["_true"] = float(labels[references[0].strip().lower()])
        return grade

    @property
    def _labels(self) -> dict[str, int]:
        found = {str(evaluate(self.config.target, row, "target")).strip().lower() for row in self.documents_}
        return {label: i for i, label in enumerate(sorted(found))}

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        found: dict[str, float] = {}
        if "bleu" in self.names:
            names = sorted((n for n in columns if n.startswith("_bleu")), key=lambda n: int(n[5:]))
            found["bleu"] = of_parts(np.stack([columns[name] for name in names], 1))
        if "macro_f1" in self.names:
            found["macro_f1"] = of_labels(columns)
        return found
