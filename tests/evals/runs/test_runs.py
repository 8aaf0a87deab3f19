"""Runs: nothing is asked twice, a stopped run goes on, figures and differences obey their laws."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from idiolect.core.errors import BadInput
from idiolect.core.store import Store
from idiolect.evals import runs
from idiolect.evals.runs import records
from idiolect.evals.runs.run import Price
from idiolect.evals.types import packed
from tests.evals.parts import Known, choice_task

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store.sqlite")


def rows(result: runs.Result) -> list[tuple[str, object, object]]:
    return [(row.item.id, packed(row.reply), dict(row.grade)) for row in result.rows]


def test_a_cached_run_equals_a_fresh_one(tmp_path: Path, store: Store) -> None:
    task, system = choice_task(tmp_path), Known()
    first = runs.run(system, task, store)
    assert (first.asked, first.cached, len(system.asked)) == (24, 0, 24)
    second = runs.run(system, task, store)
    assert (second.asked, second.cached, len(system.asked)) == (0, 24, 24)
    assert rows(first) == rows(second)
    assert runs.summarise(first).figures == runs.summarise(second).figures
    assert [row.item.id for row in first.rows] == [item.id for item in task.items()]


def test_a_larger_limit_asks_only_what_is_new(tmp_path: Path, store: Store) -> None:
    task, system = choice_task(tmp_path), Known()
    runs.run(system, task, store, limit=10)
    assert runs.run(system, task, store, limit=16).asked == 6


def test_another_system_is_asked_and_another_attempt(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path)
    runs.run(Known(), task, store)
    assert runs.run(Known(seed=1), task, store).asked == 24
    assert runs.run(Known(), task, store, attempt=1).asked == 24
    assert runs.run(Known(), task, store, attempt=1).asked == 0


def test_equal_requests_are_asked_once(tmp_path: Path, store: Store) -> None:
    task, system = choice_task(tmp_path, prompt="the same?"), Known()
    found = runs.run(system, task, store)
    assert len(system.asked) == 1 and len(found.rows) == 24


def test_what_failed_is_asked_again(tmp_path: Path, store: Store) -> None:
    task, system = choice_task(tmp_path), Known(broken=5)
    first = runs.run(system, task, store)
    assert len(first.failed) == 5
    figure = runs.summarise(first).headline
    assert figure.n == 19 and figure.unscored == 5
    second = runs.run(system, task, store)
    assert (second.asked, len(second.failed)) == (5, 0)


def test_fresh_asks_again_and_the_newest_answer_is_kept(tmp_path: Path, store: Store) -> None:
    """A server that has another model now: --fresh asks it, and later runs take what it said."""
    task, old, new = choice_task(tmp_path), Known(seed=1), Known(seed=2)
    new.fingerprint = old.fingerprint  # as of a server that does not tell
    before = runs.run(old, task, store)
    assert rows(runs.run(new, task, store)) == rows(before) and not new.asked
    after = runs.run(new, task, store, fresh=True)
    assert (after.asked, after.cached, len(new.asked)) == (24, 0, 24) and rows(after) != rows(before)
    assert rows(runs.run(old, task, store)) == rows(after) and len(old.asked) == 24


def test_nothing_answered_is_one_clear_error(tmp_path: Path, store: Store) -> None:
    with pytest.raises(BadInput, match="out of order"):
        runs.summarise(runs.run(Known(broken=99), choice_task(tmp_path), store))


def test_a_system_that_cannot_is_refused_first(tmp_path: Path, store: Store) -> None:
    system = Known()
    system.kinds = frozenset({"generate"})
    with pytest.raises(BadInput, match="gives no choose replies"):
        runs.run(system, choice_task(tmp_path), store)
    assert not system.asked


def test_a_run_is_read_back_as_it_was(tmp_path: Path, store: Store) -> None:
    found = runs.run(Known(), choice_task(tmp_path), store)
    line = runs.runs(store)[0]
    assert (line.id, line.task, line.system, line.items) == (found.id, "made", "known", 24)
    assert line.hash == found.task.hash and line.done is not None
    assert line.done["figures"]["accuracy"]["n"] == 24
    back = {row.item.id: row for row in runs.rows(store, found.id)}
    for row in found.rows:
        assert back[row.item.id].item == row.item and back[row.item.id].reply == row.reply
        assert dict(back[row.item.id].grade) == dict(row.grade)
    assert records.run(store, found.id[:8]).id == found.id
    assert store.verify().ok


CHILD = """
import asyncio, sys
from pathlib import Path
from idiolect.core.store import Store
from idiolect.evals import runs
from tests.evals.parts import Known, choice_task

class Slow(Known):
    async def answer(self, requests):
        async for index, reply in super().answer(requests):
            with open(sys.argv[2], "a") as file:  # what was asked, whatever happens next
                file.write(f"{requests[index].context}\\n")
                file.flush()
            yield index, reply
            await asyncio.sleep(float(sys.argv[3]))

folder = Path(sys.argv[1])
runs.run(Slow(), choice_task(folder), Store.open(folder / "store.sqlite"))
"""


def test_kill_and_go_on(tmp_path: Path) -> None:
    """kill -9 in the middle; the second run asks only what was not stored, and ends as a run that never stopped."""
    asked = tmp_path / "asked.txt"
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(asked)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.Popen([*command, "0.05"], env=environment, cwd=ROOT)
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline and (not asked.exists() or len(asked.read_text().splitlines()) < 8):
        time.sleep(0.02)
        assert child.poll() is None, "it ended before it could be killed"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = asked.read_text().splitlines()
    assert 8 <= len(before) < 24
    subprocess.run([*command, "0"], env=environment, cwd=ROOT, check=True)
    every = asked.read_text().splitlines()
    assert set(every) == {f"question {i}?" for i in range(24)}
    # The one that was being answered when the kill came may not have been stored yet; no other is asked twice.
    assert len(every) - len(set(every)) <= 1
    with Store.open(tmp_path / "store.sqlite") as store, Store.open(tmp_path / "other.sqlite") as other:
        resumed = runs.run(Known(), choice_task(tmp_path), store)
        fresh = runs.run(Known(), choice_task(tmp_path), other)
        assert resumed.asked == 0
        assert rows(resumed) == rows(fresh)
        assert store.verify().ok


def test_differences_are_antisymmetric(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path, n=60)
    a, b = runs.run(Known(seed=1), task, store), runs.run(Known(seed=2), task, store)
    for metric in task.metrics:
        one, two = runs.contrast(a, b, metric), runs.contrast(b, a, metric)
        assert one.estimate.value == pytest.approx(-two.estimate.value)
        assert (one.wins, one.losses) == (two.losses, two.wins)
        assert one.estimate.low == pytest.approx(-two.estimate.high, abs=0.03)
        assert one.p == pytest.approx(two.p, abs=1e-9)
        assert runs.contrast(a, a, metric).estimate.value == 0
        assert runs.contrast(a, a, metric).better is None


def test_the_difference_is_that_of_the_figures(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path, n=60)
    a, b = runs.run(Known(seed=1), task, store), runs.run(Known(seed=2), task, store)
    one, two = runs.summarise(a), runs.summarise(b)
    for metric in task.metrics:
        gap = one.figures[metric.name].value - two.figures[metric.name].value
        assert runs.contrast(a, b, metric).estimate.value == pytest.approx(gap)


def test_runs_of_different_tasks_are_not_compared(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path)
    a = runs.run(Known(), task, store)
    b = runs.run(Known(), choice_task(tmp_path, prompt="{{ q }}!"), store)
    with pytest.raises(BadInput, match="different tasks"):
        runs.contrast(a, b, task.metrics[0])


def test_groups_widen_the_interval(tmp_path: Path, store: Store) -> None:
    """Four copies of each question, drawn together, tell no more than one."""
    whole = choice_task(tmp_path, n=120, prompt="question {{ index // 4 }}", target="1")
    together = choice_task(tmp_path, n=120, prompt="question {{ index // 4 }}", target="1", group="{{ index // 4 }}")
    plain = runs.summarise(runs.run(Known(), whole, store)).headline
    grouped = runs.summarise(runs.run(Known(), together, store)).headline
    assert grouped.value == plain.value
    assert grouped.error == pytest.approx(2 * plain.error, rel=0.25)
    alone = choice_task(tmp_path, n=120, prompt="question {{ index // 4 }}", target="1", group="{{ index }}")
    assert runs.summarise(runs.run(Known(), alone, store)).headline == plain  # groups of one are no groups


def test_many_comparisons_are_warned_of_and_unclear_ones_advised(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path, n=30)
    results = [[runs.run(Known(str(seed), seed), task, store)] for seed in range(4)]
    found = runs.compare(results)
    assert len(found.headlines) == 3
    assert "3 comparisons" in found.adjusted.warning
    for one, p in zip(found.headlines, found.adjusted.p, strict=True):
        assert p >= one.p
        assert (one.advice is None) == (one.better is not None or one.estimate.value == 0)


def test_repeatability(tmp_path: Path, store: Store) -> None:
    task = choice_task(tmp_path)
    a = runs.run(Known(), task, store)
    same = runs.repeatability(a, runs.run(Known(), task, store, attempt=1))
    assert (same.changed, same.items, same.first) == (0, 24, same.second)
    other = runs.repeatability(a, runs.run(Known(seed=3), task, store))
    assert other.changed > 0 and "24 items were graded differently" in str(other)


def test_items_of_one_name_are_refused(tmp_path: Path, store: Store) -> None:
    """They would be one item in every comparison."""
    with pytest.raises(BadInput, match="several items are called 'same'"):
        runs.run(Known(), choice_task(tmp_path, id="same"), store)


def test_cost() -> None:
    from idiolect.core.call import Usage

    assert Price.parse("0.5,2").of(Usage(1_000_000, 250_000)) == pytest.approx(1.0)
    for wrong in ("3", "-1,2", "a,b", "nan,1"):
        with pytest.raises(BadInput, match="READ,WRITTEN"):
            Price.parse(wrong)


def test_a_figure_that_is_no_mean_has_an_interval(tmp_path: Path, store: Store) -> None:
    (tmp_path / "t.txt").write_text("\n---\n".join(f"some words of page {i} " * (i + 3) for i in range(12)))
    from idiolect.core.config import from_dict
    from idiolect.evals import tasks
    from idiolect.evals.tasks.config import TaskConfig

    text = {"task": "pages", "kind": "roll", "data": {"path": "t.txt", "split": "^---$"}}
    task = tasks.from_config(from_dict(TaskConfig, text), tmp_path)
    found = runs.run(Known(), task, store)
    figure = runs.summarise(found).figures["bits_per_byte"]
    nats = sum(row.grade["_nats"] for row in found.rows)
    size = sum(row.grade["_bytes"] for row in found.rows)
    assert figure.value == pytest.approx(nats / np.log(2) / size)
    assert figure.low < figure.value < figure.high and figure.n == 12
