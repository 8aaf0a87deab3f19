"""The engine's promises to its callers, on a tiny random llama."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
import torch

from idiolect.core.call import Cancel, Sampling
from idiolect.core.errors import BadInput, Cancelled, ContextOverflow, IdiolectError, Overloaded, Unavailable
from idiolect.engine import Engine, EngineConfig, Result, Scored
from idiolect.models.llama import Llama
from idiolect.native.library import library
from tests.engine.tiny import tiny_model, tiny_native_model

GREEDY = Sampling(temperature=0, max_tokens=12, ignore_eos=True)
PROMPT = [40, 41, 42, 43, 44]


@pytest.fixture(scope="module")
def kernels() -> None:
    try:
        library()
    except Unavailable as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module", params=["torch", "native"])
def runner(request: pytest.FixtureRequest) -> str:
    """Every promise holds whoever computes."""
    torch.set_num_threads(1)
    if request.param == "native":
        request.getfixturevalue("kernels")
    return str(request.param)


@pytest.fixture(scope="module")
def model(runner: str) -> Llama:
    return tiny_model() if runner == "torch" else tiny_native_model()


def config(runner: str, pages: int = 200, **changes: object) -> EngineConfig:
    """`pages` pages of 4 tokens in torch, of 16 in native kernels."""
    size = 4 if runner == "torch" else 16
    made = {"page_size": size, "pages": pages, "max_batch": 8, "step_tokens": 32, "runner": runner, **changes}
    return EngineConfig(**made)  # type: ignore[arg-type]


@pytest.fixture
def engine(model: Llama, runner: str) -> Iterator[Engine]:
    made = Engine(model, config(runner))
    assert made.stats().runner.startswith(runner)
    yield made
    made.close()
    assert made._pages.free == 200


@pytest.fixture
def unhurried(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose steps take 3 ms, so that a reader on a busy machine comes before the end of an answer."""
    run = engine._runner.run

    def slowly(work: Any) -> Any:
        time.sleep(0.003)
        return run(work)

    monkeypatch.setattr(engine._runner, "run", slowly)
    return engine


def whole(result: Result) -> str:
    return "".join(t.text for t in result.tokens)


async def test_streamed_fold_is_the_complete_answer(engine: Engine) -> None:
    complete = engine.generate([PROMPT], GREEDY)[0]
    outputs = [o async for o in engine.stream(PROMPT, GREEDY)]
    assert "".join(o.text for o in outputs) == complete.text == whole(complete)
    assert [t.id for o in outputs for t in o.tokens] == complete.ids
    assert [o.finish for o in outputs] == [None] * (len(outputs) - 1) + ["length"]
    assert outputs[-1].usage.prompt_tokens == 5 and outputs[-1].usage.completion_tokens == 12


async def test_many_streams_at_once_equal_each_alone(engine: Engine) -> None:
    prompts = [[1 + (i * j) % 90 for j in range(1, 4 + 3 * i)] for i in range(1, 12)]
    alone = [engine.generate([p], GREEDY)[0].text for p in prompts]
    engine.forget()

    async def read(prompt: list[int]) -> str:
        return "".join([o.text async for o in engine.stream(prompt, GREEDY)])

    assert await asyncio.gather(*map(read, prompts)) == alone


async def test_leaving_a_stream_frees_its_pages(unhurried: Engine) -> None:
    engine = unhurried
    long = Sampling(temperature=0, max_tokens=200, ignore_eos=True)
    async with aclosing(engine.stream(PROMPT, long)) as stream:
        async for output in stream:
            assert output.finish is None
            break
    await _until(lambda: engine.stats().running == 0)
    assert engine.stats().cancelled == 1 and engine.stats().pages_free == 200


async def test_a_tripped_cancel_ends_the_stream_with_what_was_said(unhurried: Engine) -> None:
    engine = unhurried
    cancel, seen = Cancel(), ""
    long = Sampling(temperature=0, max_tokens=240, ignore_eos=True)
    outputs = []
    async for output in engine.stream(PROMPT, long, cancel):
        outputs.append(output)
        seen += output.text
        if len(outputs) == 3:
            cancel.cancel()
    assert outputs[-1].finish == "cancelled" and outputs[-1].usage.completion_tokens < 240
    assert engine.generate([PROMPT], long)[0].text.startswith(seen)


async def test_an_already_cancelled_request_never_runs(engine: Engine) -> None:
    cancel = Cancel()
    cancel.cancel()
    outputs = [o async for o in engine.stream(PROMPT, GREEDY, cancel)]
    assert [o.finish for o in outputs] == ["cancelled"] and engine.stats().tokens_prefilled == 0
    with pytest.raises(Cancelled):
        await engine.ascore([Scored([1, 2, 3], 1)], cancel=cancel)


async def test_closing_ends_every_stream(unhurried: Engine) -> None:
    engine = unhurried
    long = Sampling(temperature=0, max_tokens=240, ignore_eos=True)
    finishes = []

    async def read() -> None:
        async for output in engine.stream(PROMPT, long):
            if output.finish:
                finishes.append(output.finish)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await _until(lambda: engine.stats().running == 3)
    await asyncio.to_thread(engine.close)
    await asyncio.gather(*readers)
    assert finishes == ["cancelled"] * 3


async def test_a_failing_model_ends_its_requests_and_frees_their_pages(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = engine.generate([PROMPT], GREEDY)[0].text
    good = engine._runner.run

    def bad(work: object) -> None:
        raise RuntimeError("out of sense")

    monkeypatch.setattr(engine._runner, "run", bad)
    with pytest.raises(IdiolectError, match="out of sense"):
        async for _ in engine.stream([7, 8, 9], GREEDY):
            pass
    with pytest.raises(IdiolectError, match="out of sense"):
        await engine.ascore([Scored([1, 2, 3], 1)])
    monkeypatch.setattr(engine._runner, "run", good)
    assert "".join([o.text async for o in engine.stream(PROMPT, GREEDY)]) == want
    assert engine.stats().failed == 2 and engine.stats().pages_free == 200


def test_threads_may_share_an_engine(engine: Engine) -> None:
    prompts = [[1 + (7 * i + j) % 90 for j in range(6)] for i in range(6)]
    want = [engine.generate([p], GREEDY)[0].text for p in prompts]
    for started in (False, True):
        if started:
            engine.start()
        got: dict[int, str] = {}
        work = [
            threading.Thread(
                target=lambda i=i, got=got: got.__setitem__(i, engine.generate([prompts[i]], GREEDY)[0].text)
            )
            for i in range(6)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(30)
        assert [got[i] for i in range(6)] == want


def test_a_seed_gives_the_same_tokens_in_any_company(engine: Engine) -> None:
    warm = Sampling(temperature=1.2, top_p=0.95, max_tokens=20, seed=99, ignore_eos=True)
    alone = engine.generate([PROMPT], warm)[0].ids
    assert engine.generate([PROMPT], warm)[0].ids == alone
    others = [Sampling(temperature=2.0, max_tokens=n, seed=n, repetition_penalty=1.2) for n in range(3, 9)]
    for place in (0, 3, 6):
        prompts = [[9 + i] * (3 + 5 * i) for i in range(6)]
        prompts.insert(place, PROMPT)
        assert engine.generate(prompts, [*others[:place], warm, *others[place:]])[place].ids == alone
    other = Sampling(temperature=1.2, top_p=0.95, max_tokens=20, seed=100, ignore_eos=True)
    assert engine.generate([PROMPT], other)[0].ids != alone


def test_preempted_equals_never_preempted(model: Llama, runner: str) -> None:
    prompts = [[1 + (i * 13 + j) % 90 for j in range(10 + i)] for i in range(5)]
    warm = [Sampling(temperature=0.9, seed=i, max_tokens=30, ignore_eos=True, frequency_penalty=0.4) for i in range(5)]
    roomy, tight = Engine(model, config(runner)), Engine(model, config(runner, 20 if runner == "torch" else 5))
    want, got = roomy.generate(prompts, warm), tight.generate(prompts, warm)
    assert tight.stats().preemptions > 0 and roomy.stats().preemptions == 0
    assert [r.ids for r in got] == [r.ids for r in want]
    assert [r.text for r in got] == [r.text for r in want]


def test_choices_of_one_prompt_share_its_prefill(engine: Engine) -> None:
    prompt = [1 + i % 90 for i in range(60)]
    seqs = [engine.submit(prompt, Sampling(max_tokens=4, seed=1), n_index=i) for i in range(4)]
    engine.run_until_idle()
    stats = engine.stats()
    assert stats.tokens_prefilled == 60 + 3 and stats.tokens_cached == 3 * 59
    assert len({tuple(s.tokens) for s in seqs}) > 1  # n_index moves the stream
    assert seqs[1].usage().cached_tokens == 59


def test_the_next_turn_starts_from_the_last_one(engine: Engine) -> None:
    first = [1 + i % 90 for i in range(40)]
    answer = engine.generate([first], GREEDY)[0]
    after = [*first, *answer.ids, 3, 4, 5]
    cached = engine.generate([after], GREEDY)[0]
    assert cached.usage.cached_tokens == 40 + 11  # the last token of an answer is never computed
    engine.forget()
    fresh = engine.generate([after], GREEDY)[0]
    assert fresh.usage.cached_tokens == 0 and fresh.ids == cached.ids


def test_scoring_shares_the_common_beginning_and_equals_the_forward_pass(
    engine: Engine, model: Llama, runner: str
) -> None:
    from idiolect.nn.batch import Batch

    within = 1e-5 if runner == "torch" else 5e-3  # native keys and values are fp16

    stem = [1 + (3 * i) % 90 for i in range(48)]
    items = [Scored([*stem, *[1 + (i * j) % 90 for j in range(10)]], 50) for i in range(1, 9)]
    found = engine.score(items, top=3)
    assert engine.stats().tokens_cached == 7 * 49  # the stem and the token after it, which is 1 in all of them
    for item, infos in zip(items, found, strict=True):
        with torch.inference_mode():
            every = model(Batch.pack([item.ids])).log_softmax(-1)
        for i, info in enumerate(infos, item.start):
            assert info.id == item.ids[i]
            assert info.logprob == pytest.approx(float(every[i - 1, info.id]), abs=within)
            assert [t for t, _, _ in info.top] == every[i - 1].topk(3).indices.tolist()


def test_stop_strings_stop_ids_end_of_turn_and_limits(engine: Engine) -> None:
    text = engine.generate([PROMPT], GREEDY)[0].text
    middle = text[4:6]

    def run(**changes: object) -> Result:
        return engine.generate([PROMPT], Sampling(temperature=0, **{"max_tokens": 12, **changes}))[0]  # type: ignore[arg-type]

    stopped = run(stop=(middle, "never"), ignore_eos=True)
    assert stopped.text == text[: text.index(middle)] == whole(stopped) and stopped.finish == "stop"
    assert stopped.usage.completion_tokens == text.index(middle) + 2
    token = engine.tokenizer.encode(text[3])[0]
    by_id = run(stop_ids=(token,), ignore_eos=True)
    assert by_id.text == text[: text.index(text[3])] and by_id.finish == "stop"
    assert by_id.tokens[-1].id == token and by_id.tokens[-1].text == ""
    ended = run(logit_bias={0: 100.0})
    assert (ended.text, ended.finish, ended.ids) == ("", "stop", [0])
    ignored = run(logit_bias={0: 100.0}, ignore_eos=True, max_tokens=5)
    assert (ignored.text, ignored.finish, ignored.ids) == ("", "length", [0] * 5)
    assert run(max_tokens=1, ignore_eos=True).finish == "length"


def test_an_answer_ends_where_the_context_does(model: Llama, runner: str) -> None:
    engine = Engine(model, config(runner, 50, context=40, max_batch=2, step_tokens=8))
    assert engine.capacity == 40
    result = engine.generate([[5] * 30], Sampling(temperature=0, ignore_eos=True))[0]
    assert len(result.ids) == 10 and result.finish == "length"
    for ids in ([5] * 40, [5] * 300):
        with pytest.raises(ContextOverflow, match=f"{len(ids)} tokens"):
            engine.submit(ids, GREEDY)
    assert len(engine.score([Scored([5] * 40, 1)])[0]) == 39


@pytest.mark.parametrize(
    ("ids", "sampling"),
    [([], GREEDY), ([96], GREEDY), ([-1], GREEDY), ([1], Sampling(logit_bias={96: 1.0}))],
)
def test_bad_requests_are_refused_at_the_door(engine: Engine, ids: list[int], sampling: Sampling) -> None:
    with pytest.raises(BadInput):
        engine.submit(ids, sampling)
    assert engine.idle


@pytest.mark.parametrize("item", [Scored([1, 2], 0), Scored([1, 2], 2), Scored([1], 1), Scored([], 1)])
def test_bad_scores_are_refused_at_the_door(engine: Engine, item: Scored) -> None:
    with pytest.raises(BadInput):
        engine.score([Scored([1, 2], 1), item])
    assert engine.idle


@pytest.mark.parametrize("changes", [{"page_size": 0}, {"step_tokens": 32, "max_batch": 32}, {"memory_bytes": 10}])
def test_an_impossible_configuration_is_refused(model: Llama, runner: str, changes: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        Engine(model, EngineConfig(runner=runner, **changes))  # type: ignore[arg-type]


def test_a_full_queue_refuses(model: Llama, runner: str) -> None:
    engine = Engine(model, config(runner, 100, max_batch=2, step_tokens=8, max_queue=3))
    for _ in range(3):
        engine.submit(PROMPT, GREEDY)
    with pytest.raises(Overloaded):
        engine.submit(PROMPT, GREEDY)
    engine.run_until_idle()
    assert engine.stats().rejected == 1 and engine.stats().finished == 3
    assert len(engine.generate([PROMPT] * 9, GREEDY)) == 9  # whole lists wait their turn instead


def test_times_are_recorded(engine: Engine) -> None:
    result = engine.generate([PROMPT], GREEDY)[0]
    m = result.metrics
    assert m.ttft is not None and len(m.itl) == 11
    assert 0 <= m.queue <= m.ttft <= m.total
    assert m.prefill > 0 and m.decode > 0 and m.tokens_per_second
    assert m.ttft + sum(m.itl) <= m.total
    stats = engine.stats()
    assert stats.tokens_generated == 12 and stats.tokens_prefilled == 5 and stats.kv_bytes > 0
    assert stats.itl_seconds.count == 11 and stats.itl_seconds.cumulative()[-1][1] == 11
    assert stats.itl_seconds.sum == pytest.approx(sum(m.itl))


async def _until(condition: object) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true within 5 seconds")


def test_news_come_while_the_next_step_computes(model: Llama, runner: str) -> None:
    """A loop tells what a step chose before it waits for the next one, and nothing is left when all is done."""
    engine = Engine(model, config(runner))
    told: list[tuple[int, int]] = []  # (tokens told of, tokens chosen by then)
    seq = engine.submit(PROMPT, GREEDY, sink=lambda output: told.append((len(told) + 1, seq.generated)))
    waits: list[int] = []
    run = engine._runner.run

    def watched(work: Any) -> Any:
        step = run(work)
        choose = step.choose

        def chosen() -> Any:
            waits.append(len(told))
            return choose()

        step.choose = chosen
        return step

    engine._runner.run = watched  # type: ignore[method-assign]
    while not engine.idle:
        engine._advance()
    assert waits == list(range(12))  # when a step is waited for, everything before it was told
    assert told == [(i, i) for i in range(1, 13)] and seq.finish == "length"
    alone = engine.generate([PROMPT], GREEDY)[0]
    assert tuple(alone.ids) == tuple(seq.tokens[len(PROMPT) :])


@pytest.mark.usefixtures("kernels")
def test_auto_takes_kernels_for_what_they_read_as_it_is() -> None:
    def chosen(model: Llama, **changes: object) -> str:
        return Engine(model, config("auto", page_size=16, **changes)).runner

    assert chosen(tiny_native_model()).startswith("torch")  # float32: its keys and values would be halved
    assert chosen(tiny_native_model().bfloat16()).startswith("native")
    assert "bfloat16" in chosen(tiny_native_model().bfloat16())
    assert "int8" in chosen(tiny_native_model(), weights="q8")
    assert "int8 kv" in chosen(tiny_native_model(), kv="int8")
    learning = tiny_native_model().bfloat16().requires_grad_(True)
    assert chosen(learning).startswith("torch")  # tiles would not learn
