"""Reports: every form says the same, nothing that a model wrote can act on the page, JSON is JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.config import from_dict
from idiolect.core.store import Store
from idiolect.evals import runs, tasks
from idiolect.evals.report import build, terminal, view, write
from idiolect.evals.report.markdown import markdown
from idiolect.evals.report.page import page
from idiolect.evals.stats import Estimate
from idiolect.evals.tasks.config import TaskConfig
from idiolect.evals.types import Metric
from tests.evals.parts import Known, choice_task


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("report")
    (folder / "hay.txt").write_text("Some hay. " * 200)
    needle = {
        "task": "needle",
        "kind": "needle",
        "data": {"path": "hay.txt"},
        "prompt": "{{ haystack }} <script>alert(1)</script>",
        "needle": {"lengths": [50, 100], "depths": [0.0, 1.0], "needle": "x is {{ number }}.", "things": ["x"]},
    }
    made = [choice_task(folder), tasks.from_config(from_dict(TaskConfig, needle), folder)]
    (folder / "one").write_text("only one text, so there is no interval")
    rolled = {"task": "text", "kind": "roll", "data": {"path": "one"}}
    made.append(tasks.from_config(from_dict(TaskConfig, rolled), folder))
    with Store.open(folder / "store.sqlite") as store:
        systems = [Known("base"), Known("b|<b>", 1), Known("third", 2)]
        results = [[runs.run(system, task, store) for task in made] for system in systems]
        repeats = [runs.repeatability(results[0][0], results[1][0])]
    return build(results, repeats, draws=200)


def test_every_form_says_the_same(report: Any, tmp_path: Path) -> None:
    from rich.console import Console

    out = io.StringIO()
    terminal.show(report, Console(file=out, width=240))
    forms = {
        "terminal": out.getvalue(),
        "markdown": markdown(report),
        "page": re.sub(r"</?(?:small|span)[^>]*>", "", page(report)),
    }
    figures = [
        view.number(figure, line.metric)
        for s in report.sections
        for line in s.lines
        for figure in line.figures
        if figure
    ]
    gaps = [view.number(c.estimate, c.metric, sign=True) for c in report.comparison.headlines]
    assert len(figures) == 3 * (4 + 1 + 4) and len(gaps) == 2 * 3
    for name, text in forms.items():
        for figure in (*figures, *gaps):
            assert figure in text, (name, figure)
        for section in report.sections:
            assert section.hash in text and section.task in text
        for note in (*report.notes, *map(str, report.repeats)):
            assert note in text or note.replace("'", "&#39;").replace(">", "&gt;").replace("<", "&lt;") in text
    assert "2 comparisons" in forms["terminal"]  # the others are too few to be tested
    for text in forms.values():
        assert "too few" in text and "text: a verdict needs 6 items that differ from base; so far b" in text
        assert "made: n = 24 items resolves differences of about" in text
    for width in (96, 80):
        narrow = io.StringIO()
        terminal.show(report, Console(file=narrow, width=width, soft_wrap=True))
        table = narrow.getvalue().split("made [")[0]
        assert "…" not in table and max(map(len, table.splitlines())) <= width
        for figure in (*figures, *gaps):
            for part in figure.split(" ", 1):
                assert part in table, (width, part)


def test_the_page_needs_nothing_and_runs_nothing(report: Any, tmp_path: Path) -> None:
    path = write(report, tmp_path / "new" / "folder")
    text = path.read_text("utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text and "b|&lt;b&gt;" in text
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!#)(?!data:image)(?!https?://(?:www\.)?(?:w3|matplotlib|creativecommons|purl))""",
        text,
    )
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:|//)", text)
    assert text.count("<svg") == 3 + 1 + 3  # a plot for each task, one of differences, a heat map for each system
    assert "prefers-color-scheme: dark" in text and "currentColor" in text


def test_json_is_whole_and_finite(report: Any, tmp_path: Path) -> None:
    folder = write(report, tmp_path).parent
    data = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["systems"] == ["base", "b|<b>", "third"]
    assert [task["task"] for task in data["tasks"]] == ["made", "needle", "text"]
    one = data["tasks"][0]
    assert one["runs"][0]["figures"]["accuracy"]["n"] == 24
    assert one["differences"][0]["verdict"] in ("better", "worse", "not clear", "better?", "worse?")
    few = data["tasks"][2]["differences"][0]
    assert (few["verdict"], few["p"], few["p_holm"], few["differ"]) == ("too few", None, None, 1)
    assert data["tasks"][2]["runs"][0]["figures"]["perplexity"]["low"] is None  # one text has no interval
    assert (folder / "report.md").read_text().startswith("| task |")


def test_items_that_differ_come_first(report: Any) -> None:
    found = view.items(report.sections[0])
    differ = [len(set(one["values"])) > 1 for one in found]
    assert differ == sorted(differ, reverse=True) and len(found) == 24
    assert found[0]["right"] in ("yes", "no", "perhaps not") and len(found[0]["said"]) == 3


def test_numbers() -> None:
    share, bits = Metric("a"), Metric("b", False, share=False)
    assert view.number(Estimate(0.4321, 0.4, 0.5, 9), share) == "43.2 [40.0, 50.0]"
    assert view.number(Estimate(0.1, -0.1, 0.3, 9), share, sign=True) == "+10.0 [-10.0, +30.0]"
    assert view.number(Estimate(1.23456, float("-inf"), float("inf"), 1), bits) == "1.235"
    assert view.number(None, bits) == "-"


def test_better_minds_the_direction() -> None:
    up, down = Metric("a"), Metric("b", False)
    for metric, gap, want in ((up, 0.2, "better"), (up, -0.2, "worse"), (down, -0.2, "better"), (down, 0.2, "worse")):
        estimate = Estimate(gap, gap - 0.1, gap + 0.1, 9)
        contrast = runs.Contrast("t", metric, "s", "b", estimate, 1, 1, 0.01, 0.0, None)
        assert view.verdict(contrast) == view.verdict(contrast, 0.01) == want
        assert view.verdict(contrast, 0.2) == f"{want}?"  # one of many comparisons
    unclear = runs.Contrast("t", up, "s", "b", Estimate(0.1, -0.1, 0.3, 9), 1, 1, 0.5, 0.0, None)
    assert view.verdict(unclear) == "not clear"
    few = runs.Contrast("t", up, "s", "b", Estimate(1.0, 0.2, 1.0, 5), 5, 0, float("nan"), 0.0, None, 5)
    assert few.better is None and view.verdict(few) == "too few"
    doubted = runs.Contrast("t", up, "s", "b", Estimate(0.2, 0.1, 0.3, 9), 6, 1, 0.07, 0.0, None, 7)
    assert view.verdict(doubted) == "not clear"  # the interval alone is not enough


def test_who_computed_stands_in_the_header_and_differences_are_warned_of(tmp_path: Path) -> None:
    """Runner and weights format of each system, in every form, also of answers that were kept; a difference of
    runners is no difference of models, and a server that tells nothing may be another one tomorrow."""
    from rich.console import Console

    task = choice_task(tmp_path)

    def system(name: str, seed: int, runner: str, weak: str = "") -> Any:
        made: Any = Known(name, seed)
        made.about, made.weak = {"weights": f"Q{seed}_0"}, weak
        made.by = lambda request: runner
        return made

    systems = [system("base", 4, "torch cpu float32"), system("new", 8, "native avx2 int8", "who knows")]
    with Store.open(tmp_path / "s.sqlite") as store:
        fresh = build([[runs.run(one, task, store)] for one in systems], draws=100)
        for one in systems:
            del one.by  # what was kept says who computed it
        kept = build([[runs.run(one, task, store)] for one in systems], draws=100)
    assert fresh.made == kept.made and fresh.notes == kept.notes
    out = io.StringIO()
    terminal.show(kept, Console(file=out, width=300))
    for text in (out.getvalue(), markdown(kept), page(kept), json.dumps(view.plain(kept))):
        assert "torch cpu float32" in text and "native avx2 int8" in text and "Q8_0" in text and "Q4_0" in text
    assert "new is scored by native avx2 int8, base by torch cpu float32" in "\n".join(kept.notes)
    assert "new: who knows; kept answers may be another model's (--fresh" in "\n".join(kept.notes)
    same = build([[r] for r in [kept.sections[0].results[0]] * 2], draws=100)
    assert not any("scored by" in note for note in same.notes)


@pytest.mark.browser
def test_the_page_fits_narrow_and_wide_with_five_systems(tmp_path: Path) -> None:
    import shutil

    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    task = choice_task(tmp_path)
    names = ["base", "bf16", "q8", "q4", "a-long-name-of-a-tuned-model"]
    with Store.open(tmp_path / "s.sqlite") as store:
        results = [[runs.run(Known(name, seed), task, store)] for seed, name in enumerate(names)]
    file = write(build(results, draws=50), tmp_path / "out")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                shown.goto(file.as_uri())
                shown.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
                assert shown.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
                assert shown.locator("table.scores tr:visible").count() == len(names) + (width > 700)
        browser.close()
