"""Every metric says what it is, is tested, and stands in the documentation as it is."""

from __future__ import annotations

from pathlib import Path

from idiolect.evals import metrics
from idiolect.evals.metrics.registry import MEASURES, table

ROOT = Path(__file__).parents[3]


def test_each_metric_is_described() -> None:
    assert len(MEASURES) >= 30
    for name in MEASURES:
        m = MEASURES.get(name)
        assert m.about.endswith((".", ")")) and m.formula and m.checked, name
        assert m.low < m.high and m.better in ("high", "low", ""), name


def test_each_metric_is_public_and_tested() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    public = {getattr(metrics, n) for n in metrics.__all__}
    for name in MEASURES:
        function = MEASURES.get(name).function
        assert function in public, name
        assert f"{function.__name__}(" in tests or f"{function.__name__}," in tests, name


def test_the_documentation_holds_this_very_table() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert "\n".join(table()) in page, "the table of docs/metrics.md is `registry.table()`: put it there anew"
