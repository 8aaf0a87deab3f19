"""The laws of the onion, on handlers whose events are known."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.core.call import (
    Call,
    Ctx,
    Delta,
    Event,
    Finished,
    Layer,
    Message,
    Note,
    Sampling,
    Started,
    Timing,
    fold,
    onion,
)
from idiolect.core.errors import BadInput, Cancelled, Overloaded, Unavailable
from idiolect.core.store import Store
from idiolect.gateway import traces, wire
from idiolect.gateway.layers import Cache, Fallback, Limited, Limits, LimitsConfig, Retry, RetryConfig, Trace
from idiolect.gateway.recorder import Recorder
from idiolect.gateway.streams import closing, measured
from tests.gateway.programs import Speaker

CALL = Call("m", (Message("user", "hi"),), sampling=Sampling(temperature=0.0))


def quick(attempts: int = 3) -> Retry:
    return Retry(RetryConfig(attempts=attempts, base=0.0))


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def stack(names: tuple[str, ...], store: Store, recorder: Recorder, other: Speaker) -> list[Layer]:
    made: dict[str, Layer] = {
        "trace": Trace(recorder),
        "limits": Limits(LimitsConfig(), store=store),
        "cache": Cache(store, recorder),
        "retry": quick(),
        "fallback": Fallback({"m": ["other"]}, lambda _: other),
    }
    return [measured(name, made[name], lambda *_: None) for name in names]


# ------------------------------------------------------------------------------------------------------ the laws


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=12),
    n=st.integers(1, 3),
    names=st.permutations(["trace", "limits", "cache", "retry", "fallback"]),
    failures=st.integers(0, 2),
)
def test_any_order_of_layers_and_any_cut_give_the_same_answer(
    text: str, cuts: list[int], n: int, names: list[str], failures: int
) -> None:
    """fold(stream) == complete, one Finished per index, nothing lost, whatever the order of the rings."""
    bounds = sorted({0, len(text), *(c for c in cuts if c <= len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)] or [text]
    speaker = Speaker(pieces, error=Unavailable("not yet"), fail_times=failures)

    async def work(store: Store, recorder: Recorder) -> None:
        handler = onion(speaker, stack(tuple(names), store, recorder, speaker))
        call = Call("m", CALL.messages, sampling=CALL.sampling, n=n)
        ctx = Ctx()
        done = await fold(handler(call, ctx))
        assert [c.text for c in done.choices] == [text] * n
        assert [c.reason for c in done.choices] == ["stop"] * n
        finished = [e.index for e in done.events if isinstance(e, Finished)]
        assert sorted(finished) == list(range(n))
        assert isinstance(done.events[-1], Finished)
        assert len([t for c in done.choices for t in c.tokens]) == n * len(pieces)
        assert speaker.calls == failures + 1
        if not failures:  # a stand-in is called without the rings inside the fallback
            assert {e.stage for e in done.events if isinstance(e, Timing)} >= {f"layer:{name}" for name in names}
        await asyncio.to_thread(recorder.flush)
        if failures and names[0] != "trace":
            return  # what happens outside the trace is not in it
        told = traces.one(store, ctx.trace)["events"]
        for index in range(n):  # what the store has is what the caller saw
            rows = [r for r in told if r["kind"] == "tokens" and r["index"] == index]
            assert "".join(r["text"] for r in rows) == text
        assert [r["kind"] for r in told].count("call") == 1
        assert [r["kind"] for r in told].count("done") == 1
        assert store.verify().ok

    with TemporaryDirectory() as folder, Store.open(Path(folder) / "s") as store:
        recorder = Recorder(store, window=0.001)
        try:
            asyncio.run(work(store, recorder))
        finally:
            recorder.close()


@pytest.mark.parametrize("layer", ["retry", "fallback"])
async def test_nothing_is_tried_again_after_visible_text(layer: str, store: Store, recorder: Recorder) -> None:
    speaker, other = Speaker(error=Unavailable("broke"), fail_after=1), Speaker(["other"])
    handler = onion(speaker, stack((layer,), store, recorder, other))
    seen: list[Event] = []
    with pytest.raises(Unavailable, match="broke"):
        async for event in handler(CALL, Ctx()):
            seen.append(event)
    assert speaker.calls == 1 and other.calls == 0
    assert [e.text for e in seen if isinstance(e, Delta)] == ["Hello"]


async def test_retry_is_visible_and_gives_up(store: Store, recorder: Recorder) -> None:
    speaker = Speaker(error=Unavailable("busy"), fail_times=2)
    events = await collect(onion(speaker, [quick(3)])(CALL, Ctx()))
    assert speaker.calls == 3
    assert [e.code for e in events if isinstance(e, Note)] == ["retry", "retry"]
    assert sum(isinstance(e, Started) for e in events) == 1
    speaker = Speaker(error=Unavailable("busy"))
    with pytest.raises(Unavailable):
        await collect(onion(speaker, [quick(3)])(CALL, Ctx()))
    assert speaker.calls == 3


@pytest.mark.parametrize("error", [BadInput("no"), Cancelled("gone")])
async def test_what_cannot_get_better_is_not_retried(error: Any, store: Store, recorder: Recorder) -> None:
    speaker, other = Speaker(error=error), Speaker(["other"])
    with pytest.raises(type(error)):
        await collect(onion(speaker, stack(("fallback", "retry"), store, recorder, other))(CALL, Ctx()))
    assert speaker.calls == 1 and other.calls == 0


async def test_backoff_waits_as_long_as_the_upstream_asks_and_no_longer_than_allowed() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    error = Overloaded("busy")
    error.retry_after = 2.0  # type: ignore[attr-defined]
    retry = Retry(RetryConfig(attempts=3, base=0.5, longest=4.0), sleep=sleep, jitter=lambda: 0.5)
    with pytest.raises(Overloaded):
        await collect(onion(Speaker(error=error), [retry])(CALL, Ctx()))
    assert waits == [2.0, 2.0]
    error.retry_after = 60.0  # type: ignore[attr-defined]
    with pytest.raises(Overloaded):
        await collect(onion(Speaker(error=error), [retry])(CALL, Ctx()))
    assert len(waits) == 2


async def test_fallback_names_who_answers(store: Store, recorder: Recorder) -> None:
    other = Speaker(["from the other"], id="other")
    handler = onion(Speaker(error=Unavailable("down")), stack(("trace", "fallback"), store, recorder, other))
    done = await fold(handler(CALL, Ctx()))
    assert done.text == "from the other" and done.model == "other"
    assert [e.code for e in done.events if isinstance(e, Note)] == ["fallback"]


@pytest.mark.parametrize(
    "names",
    [("trace",), ("limits",), ("cache",), ("retry",), ("fallback",), ("trace", "limits", "cache", "retry", "fallback")],
)
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_cancellation_reaches_the_innermost_handler(
    names: tuple[str, ...], how: str, store: Store, recorder: Recorder
) -> None:
    speaker = Speaker(["a"] * 100, pace=0.005)
    ctx = Ctx()
    events = onion(speaker, stack(names, store, recorder, Speaker()))(CALL, ctx)
    texts: list[str] = []
    third = asyncio.Event()

    async def read() -> None:
        async with closing(events):
            async for event in events:
                if isinstance(event, Delta):
                    texts.append(event.text)
                    if len(texts) == 3:
                        third.set()
                if how == "close" and len(texts) == 3:
                    return

    task = asyncio.create_task(read())
    if how == "cancel":
        await asyncio.wait_for(third.wait(), 5)
        task.cancel()
    await asyncio.wait([task])
    assert speaker.closed == 1 and speaker.running == 0
    if "trace" in names:  # the partial answer is in the store
        await asyncio.to_thread(recorder.flush)
        rows = traces.one(store, ctx.trace)["events"]
        assert "".join(r["text"] for r in rows if r["kind"] == "tokens").startswith("aaa")
        assert [r["code"] for r in rows if r["kind"] == "failed"] == ["cancelled"]
        assert rows[-1]["kind"] == "done" and rows[-1]["tokens"] >= 3


# ------------------------------------------------------------------------------------------------------ the trace


async def test_every_event_comes_back_from_the_store_as_it_was(store: Store, recorder: Recorder) -> None:
    ctx = Ctx()
    events = await collect(onion(Speaker(), [Trace(recorder)])(CALL, ctx))
    rows = list(store.events(trace=ctx.trace))
    back = [e for r in rows if (e := wire.decode(r.kind, r.payload)) is not None]
    assert [e for e in back if not isinstance(e, Delta)] == [e for e in events if not isinstance(e, Delta)]
    tokens = [t for e in events if isinstance(e, Delta) for t in e.tokens]
    kept = [t for e in back if isinstance(e, Delta) for t in e.tokens]
    assert [(t.id, t.text, t.logprob, t.top) for t in kept] == [(t.id, t.text, t.logprob, t.top) for t in tokens]
    assert store.chain(rows[0].chain or "") == CALL.messages


async def test_a_trace_is_stored_before_its_end_is_seen(store: Store) -> None:
    recorder = Recorder(store, window=5.0)  # nothing is written behind during this test
    ctx = Ctx()
    async with closing(onion(Speaker(pace=0.001), [Trace(recorder)])(CALL, ctx)) as events:
        async for event in events:
            if isinstance(event, Finished):
                kinds = [r.kind for r in store.events(trace=ctx.trace)]
                assert kinds == ["call", "started", "prompted", "mode", "tokens", "timing", "finished", "done"]
    recorder.close()


async def test_a_store_that_cannot_be_written_fails_the_call(store: Store, recorder: Recorder) -> None:
    store.close()
    with pytest.raises(Unavailable):
        await collect(onion(Speaker(), [Trace(recorder)])(CALL, Ctx()))
    assert recorder.errors > 0


# ------------------------------------------------------------------------------------------------------ the cache


async def test_a_hit_replays_the_stored_answer_after_a_restart(tmp_path: Path) -> None:
    speaker = Speaker()
    seen = []
    for _ in range(3):  # each round is a new process as far as memory goes
        with Store.open(tmp_path / "s") as store:
            recorder = Recorder(store)
            done = await fold(onion(speaker, [Trace(recorder), Cache(store, recorder)])(CALL, Ctx()))
            seen.append((done.text, [t.logprob for t in done.choices[0].tokens], done.usage))
            hit = [e for e in done.events if isinstance(e, Note) and e.code == "cache"]
            assert len(hit) == (len(seen) > 1)
            recorder.close()
    assert speaker.calls == 1
    assert seen[0] == seen[1] == seen[2]


async def test_what_changes_the_key(store: Store, recorder: Recorder) -> None:
    print_ = ["index 1"]
    cache = Cache(store, recorder, fingerprint=lambda: print_[0])
    speaker = Speaker()
    handler = onion(speaker, [Trace(recorder), cache])

    async def calls(call: Call, **ctx: Any) -> int:
        before = speaker.calls
        await fold(handler(call, Ctx(**ctx)))
        return speaker.calls - before

    greedy = CALL.sampling
    assert await calls(CALL) == 1
    assert await calls(CALL) == 0
    assert await calls(CALL, tenant="somebody else") == 1
    for other in (
        Call("m2", CALL.messages, sampling=greedy),
        Call("m", (Message("user", "hi!"),), sampling=greedy),
        Call("m", CALL.messages, sampling=Sampling(temperature=0, max_tokens=9)),
        Call("m", CALL.messages, sampling=Sampling(seed=1)),
        Call("m", CALL.messages, sampling=greedy, n=2),
        Call("m", CALL.messages, sampling=greedy, options={"mode": "quote"}),
        Call("m", CALL.messages, sampling=greedy, tools=({"type": "function"},)),
        Call("m", prompt="hi", sampling=greedy),
        Call("m", prompt=(1, 2), sampling=greedy),
    ):
        assert await calls(other) == 1, other
        assert await calls(other) == 0, other
    print_[0] = "index 2"
    assert await calls(CALL) == 1
    random = Call("m", CALL.messages)  # temperature 1, no seed: never kept
    assert await calls(random) == 1
    assert await calls(random) == 1
    assert await calls(Call("m", CALL.messages, sampling=greedy, options={"no_cache": True})) == 1


async def test_stand_ins_failures_and_cut_answers_are_not_kept(store: Store, recorder: Recorder) -> None:
    speaker, other = Speaker(error=Unavailable("down"), fail_times=1), Speaker(["other"])
    handler = onion(speaker, stack(("trace", "cache", "fallback"), store, recorder, other))
    assert (await fold(handler(CALL, Ctx()))).text == "other"
    assert (await fold(handler(CALL, Ctx()))).text == "Hello, world"
    broken = onion(Speaker(error=Unavailable("broke"), fail_after=2), stack(("trace", "cache"), store, recorder, other))
    call = Call("m", (Message("user", "another"),), sampling=CALL.sampling)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await fold(broken(call, Ctx()))


# ------------------------------------------------------------------------------------------------------ the limits


async def test_concurrency_waits_in_line_and_then_refuses() -> None:
    speaker = Speaker(pace=0.01)
    handler = onion(speaker, [Limits(LimitsConfig(concurrent=2, waiting=3))])
    results = await asyncio.gather(*(fold(handler(CALL, Ctx())) for _ in range(8)), return_exceptions=True)
    assert speaker.most == 2
    refused = [r for r in results if isinstance(r, Limited)]
    assert len(refused) == 3 and all(r.retry_after > 0 for r in refused)
    assert len([r for r in results if not isinstance(r, BaseException)]) == 5


async def test_a_place_is_given_back_whoever_leaves() -> None:
    limits = Limits(LimitsConfig(concurrent=1))
    handler = onion(Speaker(pace=0.01), [limits])
    tasks = [asyncio.create_task(fold(handler(CALL, Ctx()))) for _ in range(6)]
    await asyncio.sleep(0.005)
    for task in (tasks[0], tasks[2], tasks[4]):  # the running one and two that wait
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(r, asyncio.CancelledError) for r in done) == 3
    assert limits.running == 0 and limits.queued == 0


def test_many_keys_do_not_free_one_that_called_too_often() -> None:
    now = [0.0]
    limits = Limits(LimitsConfig(per_minute=1, burst=1), clock=lambda: now[0])
    limits._check_rate("greedy")
    for i in range(10_001):
        limits._check_rate(f"key {i}")
    with pytest.raises(Limited):
        limits._check_rate("greedy")
    now[0] = 61.0
    limits._check_rate("greedy")  # its minute has passed, as that of all: none is kept for nothing
    assert len(limits._buckets) == 1


async def test_the_rate_is_a_token_bucket_per_key() -> None:
    now = [0.0]
    limits = Limits(LimitsConfig(per_minute=60, burst=2), clock=lambda: now[0])
    handler = onion(Speaker(), [limits])

    async def passes(tenant: str = "a") -> bool:
        try:
            await fold(handler(CALL, Ctx(tenant=tenant)))
        except Limited as error:
            assert 0 < error.retry_after <= 1
            return False
        return True

    assert [await passes() for _ in range(3)] == [True, True, False]
    assert await passes("b")
    now[0] = 1.0  # one a second
    assert [await passes() for _ in range(2)] == [True, False]
    now[0] = 100.0  # never more than the burst
    assert [await passes() for _ in range(3)] == [True, True, False]


async def test_the_budget_counts_cut_answers_and_survives_a_restart(tmp_path: Path) -> None:
    config = LimitsConfig(tokens_per_day=10)
    with Store.open(tmp_path / "s") as store:
        recorder = Recorder(store)
        handler = onion(Speaker(["a"] * 9), [Trace(recorder), Limits(config, store=store)])
        async with closing(handler(CALL, Ctx())) as events:  # leave after four tokens: 3 of the prompt and 4 are spent
            count = 0
            async for event in events:
                count += isinstance(event, Delta)
                if count == 4:
                    break
        await fold(handler(CALL, Ctx()))
        with pytest.raises(Limited):
            await fold(handler(CALL, Ctx()))
        await fold(handler(CALL, Ctx(tenant="other")))
        recorder.close()
    with Store.open(tmp_path / "s") as store:
        again = onion(Speaker(), [Limits(config, store=store)])
        with pytest.raises(Limited, match="budget") as caught:
            await fold(again(CALL, Ctx()))
        assert 0 < caught.value.retry_after <= 86_400
