"""docs/evaluation.md: the task that it shows in ten lines is run as it stands there, and its tables are complete."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from idiolect.core.store import Store
from idiolect.evals import runs, tasks
from idiolect.evals.tasks.answers import extractors
from idiolect.evals.tasks.config import TaskConfig
from idiolect.evals.tasks.written import CORPUS, GRADERS
from tests.evals.parts import Known

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_task_in_ten_lines(tmp_path: Path) -> None:
    (tmp_path / "capitals.csv").write_text(block("csv"))
    text = block("yaml")
    assert len(text.splitlines()) == 10
    (tmp_path / "capitals.yaml").write_text(text)
    task = tasks.load(tmp_path / "capitals.yaml")
    items = list(task.items())
    assert [item.id for item in items] == ["France", "Italy", "Spain", "Japan"]
    assert items[1].request.context == (  # type: ignore[union-attr]
        "Question: What is the capital of France?\nAnswer: Paris\n\nQuestion: What is the capital of Italy?\nAnswer:"
    )
    assert items[1].request.options == (" Rome", " Milan", " Turin") and items[1].target == 0  # type: ignore[union-attr]
    with Store.open(tmp_path / "store.sqlite") as store:
        assert runs.summarise(runs.run(Known(), task, store)).headline.n == 4


def test_every_key_and_name_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    unsaid = {"task", "about", "source", "id", "show", "top", "version"}  # shown in the example, or for people only
    for name in [f.name for f in fields(TaskConfig) if f.name not in unsaid] + [*extractors, *GRADERS, *CORPUS]:
        assert re.search(rf"`{name}\b", page), name
