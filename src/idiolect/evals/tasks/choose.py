"""Multiple choice: the option that the model finds most likely is its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.evals.metrics.calibration import calibration_error
from idiolect.evals.metrics.choice import pick, probabilities
from idiolect.evals.metrics.classification import macro_f1
from idiolect.evals.tasks.base import PerDocument, Record, wrong_reply
from idiolect.evals.tasks.templates import evaluate, render
from idiolect.evals.types import Choose, Chosen, Columns, Grade, Item, Metric, Reply

METRICS = {
    "accuracy": Metric("accuracy", about="the option with the highest log-likelihood is the right one"),
    "accuracy_bytes": Metric("accuracy_bytes", about="the same, log-likelihood per byte of the option"),
    "accuracy_tokens": Metric("accuracy_tokens", about="the same, log-likelihood per token"),
    "ece": Metric("ece", False, about="expected calibration error of the softmax over options, 10 bins"),
    "macro_f1": Metric("macro_f1", about="F1 of each class, averaged"),
}


class ChooseTask(PerDocument):
    """`options` and `target` say what may be chosen and what is right."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = self.config.metrics or ("accuracy", "accuracy_bytes", "accuracy_tokens", "ece")
        self.metrics = tuple(_metric(name) for name in names)

    def options(self, row: Record) -> tuple[str, ...]:
        given, where = self.config.options, f"{self.name}: options"
        if isinstance(given, str):
            texts = evaluate(given, row, where)
            if not isinstance(texts, (list, tuple)) or not texts:
                raise BadInput(f"{where} gives {texts!r}", hint="an expression that gives a list of texts")
            found = [render(self.config.option, {**row, "option": text}, f"{self.name}: option") for text in texts]
        else:
            found = [render(one, row, where) for one in given]
        return tuple(text.strip() if self.config.format == "chat" else text for text in found)

    def right(self, row: Record, options: tuple[str, ...]) -> int:
        target = evaluate(self.config.target, row, f"{self.name}: target")
        if isinstance(target, bool) or not isinstance(target, (int, str)):
            raise BadInput(
                f"{self.name}: target is {target!r}", hint="give an option's number, counted from 0, or text"
            )
        if isinstance(target, str):
            stripped = [option.strip() for option in options]
            if target.strip() not in stripped:
                raise BadInput(f"{self.name}: no option is {target!r}", hint=f"they are {', '.join(stripped)[:200]}")
            return stripped.index(target.strip())
        if not 0 <= target < len(options):
            raise BadInput(f"{self.name}: option {target} of {len(options)}", hint="count options from 0")
        return target

    def answer_of(self, row: Record) -> str:
        if self.config.answer:
            return self.render("answer", row)
        options = self.options(row)
        return options[self.right(row, options)]

    def item(self, row: Record) -> Item:
        options = self.options(row)
        return Item(self.id_of(row), Choose(self.asked(row), options), self.right(row, options), self.meta_of(row))

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Chosen) or not isinstance(item.request, Choose):
            raise wrong_reply(item, reply)
        target = int(item.target)
        # As lm-evaluation-harness counts: the option itself, without the space that joins it to the prompt.
        sizes = [max(1, len(option.strip().encode())) for option in item.request.options]
        tokens = [max(1, n) for n in reply.tokens]
        best = [pick(reply.logprobs, by) for by in (None, sizes, tokens)]
        return {
            "accuracy": float(best[0] == target),
            "accuracy_bytes": float(best[1] == target),
            "accuracy_tokens": float(best[2] == target),
            "_confidence": float(probabilities(reply.logprobs).max()),
            "_said": float(best[0]),
            "_true": float(target),
        }

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        wanted = {metric.name for metric in self.metrics}
        found: dict[str, float] = {}
        if "ece" in wanted:
            found["ece"] = calibration_error(columns["_confidence"], columns["accuracy"])
        if "macro_f1" in wanted:
            found["macro_f1"] = of_labels(columns)
        return found


def of_labels(columns: Columns) -> float:
    """Macro F1 over the labels that are right somewhere."""
    said, true = columns["_said"].tolist(), columns["_true"].tolist()
    return macro_f1(said, true, among=set(true))


def _metric(name: str) -> Metric:
    if name not in METRICS:
        from idiolect.core.names import did_you_mean

        raise BadInput(f"a choose task has no metric {name!r}", hint=did_you_mean(name, METRICS), param="metrics")
    return METRICS[name]
