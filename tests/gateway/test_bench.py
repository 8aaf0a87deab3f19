"""The load generator: its plan is fixed by a seed, its clock starts at the scheduled arrival, its sums are right."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.cli import main
from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Started, TokenInfo, Usage
from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.engine import Engine, EngineConfig
from idiolect.gateway.bench import Answer, Asked, Plan, Slo, Target, arrivals, drive, read_prompts, report
from idiolect.gateway.bench.drive import Driven
from idiolect.gateway.bench.plan import Line
from idiolect.gateway.local import LocalModel
from tests.engine.tiny import tiny_model


class Slow:
    """Three words, `pace` seconds apart; every request named `bad` fails in the middle."""

    def __init__(self, pace: float) -> None:
        self.pace = pace

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        yield Started("x", "m", 0.0)
        for i in range(3):
            await asyncio.sleep(self.pace)
            if i == 1 and "bad" in str(call.prompt or call.messages):
                raise Unavailable("no")
            yield Delta("word ", 0, (TokenInfo(i, "word ", -0.1),))
        yield Finished("stop", Usage(5, 3))


def load(url: str, plan: Plan, **how: Any) -> Driven:
    async def run() -> Driven:
        async with Target(url, endpoint=how.pop("endpoint", "chat")) as target:
            return await drive(target, plan, **how)

    return asyncio.run(run())


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(4.0, 20_001, seed=1)
    gaps = [b - a for a, b in pairwise(times)]
    assert times[0] == 0 and min(gaps) > 0
    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.05)  # of an exponential: its mean
    assert arrivals(4.0, 50, seed=1) == times[:50] and arrivals(4.0, 50, seed=2) != times[:50]
    assert arrivals(float("inf"), 3, seed=1) == [0.0] * 3
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput):
            arrivals(rate, 3, seed=1)


@given(st.integers(0, 99), st.integers(1, 30), st.booleans())
def test_a_plan_is_a_function_of_its_seed(seed: int, count: int, same: bool) -> None:
    lines = [Line("one"), Line("two", max_tokens=3), Line(messages=({"role": "user", "content": "three"},))]
    plan = Plan.make(lines, rate=2.0, requests=count, seed=seed, same=same)
    assert plan == Plan.make(lines, rate=2.0, requests=count, seed=seed, same=same)
    texts = [r.prompt if isinstance(r.prompt, str) else r.prompt[0]["content"] for r in plan.requests + plan.warmup]
    if same:
        assert set(texts) <= {"one", "two", "three"}
    else:
        assert len({t[:10] for t in texts}) == len(texts)  # no cache can help
    assert len(plan.requests) == count and len(plan.warmup) == 2


def test_latency_counts_from_the_scheduled_arrival(run: Callable[..., Any]) -> None:
    """Four at once through one place: each waits for those before it, and says so."""
    server = run(Slow(0.05))
    plan = Plan(tuple(Asked(0.0, f"q{i}", 9) for i in range(4)))
    driven = load(server.url, plan, concurrency=1)
    ends = sorted(a.end for a in driven.answers)
    assert all(b - a >= 0.14 for a, b in pairwise(ends))
    assert max(a.started for a in driven.answers) >= 0.42 and max(a.ttft or 0 for a in driven.answers) >= 0.47
    free = load(server.url, plan)
    assert max(a.started for a in free.answers) < 0.42


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_failures_are_counted_and_left_out_of_the_times(run: Callable[..., Any], endpoint: str) -> None:
    server = run(Slow(0.01))
    plan = Plan(tuple(Asked(0.0, text, 9) for text in ("a", "bad", "c")), warmup=(Asked(0.0, "warm", 9),))
    found = report(load(server.url, plan, endpoint=endpoint), Slo(5.0, 5.0), "m")
    assert (found.requests, found.failed, found.tokens, found.prompt_tokens) == (3, 1, 6, 10)
    assert found.tokens_counted and len(found.errors) == 1
    assert found.ttft is not None and found.ttft.n == 2 and found.itl is not None and found.itl.n == 4
    assert found.good_share == pytest.approx(2 / 3)


def test_the_sums_are_the_definitions() -> None:
    quick = Answer(0.0, pieces=[0.1, 0.2, 0.3], end=0.3, tokens=3)
    slow = Answer(1.0, pieces=[0.9, 1.0], end=1.0, tokens=2)
    dragging = Answer(2.0, pieces=[0.1, 1.1, 2.1], end=2.1, tokens=3)
    failed = Answer(3.0, end=0.1, error="HTTP 500")
    found = report(Driven([quick, slow, dragging, failed], 5.0), Slo(ttft=0.5, itl=0.5), "m")
    assert found.throughput == pytest.approx(3 / 5) and found.goodput == pytest.approx(1 / 5)
    assert found.tokens_per_second == pytest.approx(8 / 5) and found.rate == pytest.approx(1.0)
    assert found.tokens_per_second_user is not None and found.tokens_per_second_user.max == pytest.approx(10.0)
    assert found.ttft is not None and (found.ttft.min, found.ttft.p50) == (0.1, 0.1)


def test_a_real_engine_under_load(run: Callable[..., Any]) -> None:
    engine = Engine(tiny_model(), EngineConfig(pages=64))
    server = run(LocalModel(engine.model, engine, "tiny"))
    server.app.engine_stats = engine.stats
    try:
        lines = [Line("hello there"), Line("what now", max_tokens=5)]
        plan = Plan.make(lines, rate=200.0, requests=24, max_tokens=12, seed=3)
        found = report(load(server.url, plan, endpoint="completions"), Slo(60.0, 60.0), "m")
        assert found.failed == 0 and found.goodput == pytest.approx(found.throughput)
        stats = engine.stats()
        assert stats.pages_free == stats.pages_total and stats.finished == 26
        assert stats.sequence_steps >= stats.steps and stats.multiply_adds > 0 and stats.bytes_read > 0
        assert found.server["pages free"] == stats.pages_free
        assert server.metric("idiolect_engine_user_tokens_per_second_count") > 0
        assert 0 < server.metric("idiolect_engine_batch_occupancy") <= 1
        assert server.metric("idiolect_engine_good_total") <= 26
    finally:
        engine.close()


def test_the_command(run: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    server = run(Slow(0.005))
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prompt": "one", "max_tokens": 4}\n{"messages": [{"role": "user", "content": "two"}]}\nthree\n')
    argv = ["bench", "serve", server.url, "--rate", "100", "-n", "5", "--prompts", str(asked)]
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["requests"] == 5 and said["failed"] == 0 and said["ttft"]["n"] == 5
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "TTFT" in out and "p99" in out and "goodput" in out
    for bad in (
        ["bench", "serve"],
        ["bench", "serve", "http://127.0.0.1:1"],
        ["bench", "serve", "ftp://x"],
        [*argv, "--slo", "speed=1"],
        [*argv, "--rate", "0"],
        [*argv, "--prompts", str(tmp_path / "none")],
    ):
        assert main(bad) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_files_of_prompts_that_cannot_be_used(tmp_path: Path) -> None:
    assert len(read_prompts()) == 16
    with pytest.raises(NotFound):
        read_prompts(tmp_path / "none.txt")
    for text in ("", '{"words": 1}\n', "{broken\n"):
        (tmp_path / "p").write_text(text)
        with pytest.raises(BadInput):
            read_prompts(tmp_path / "p")


def test_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from idiolect.gateway.bench.plot import plot

    driven = Driven([Answer(0.0, pieces=[0.1, 0.2], end=0.2, tokens=2)], 1.0)
    plot(driven, report(driven, Slo(), "m"), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000
    with pytest.raises(BadInput):
        plot(driven, report(driven, Slo(), "m"), tmp_path / "none" / "p.png")
