"""Laws of the scheduler: whatever happens in whatever order, every page comes back, nobody starves, and every answer is
the one that the request would have had alone."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import ClassVar

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from idiolect.core.call import Sampling
from idiolect.engine import Engine, EngineConfig, Scored, Sequence
from idiolect.models.llama import Llama
from idiolect.nn.batch import Batch
from tests.engine.tiny import VOCABULARY, tiny_model


@cache
def model() -> Llama:
    torch.set_num_threads(1)
    return tiny_model()


@cache
def alone(prompt: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Greedy tokens without any cache, batch, chunk or page: the whole sequence again for every token."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(n):
            tokens.append(int(model()(Batch.pack([tokens], last_only=True)).argmax()))
            if tokens[-1] == 0:
                break
    return tuple(tokens[len(prompt) :])


def logprobs_alone(ids: tuple[int, ...], start: int) -> list[float]:
    with torch.inference_mode():
        every = model()(Batch.pack([ids])).log_softmax(-1)
    return [float(every[i - 1, ids[i]]) for i in range(start, len(ids))]


# Prompts share beginnings, so that the prefix cache and the waiting for a running prefix have work.
stem = st.sampled_from([(), tuple(range(1, 41)), tuple(range(1, 25)), tuple(range(60, 80)) * 2])
prompts = st.builds(lambda a, b: a + tuple(b), stem, st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=30))


class Traffic(RuleBasedStateMachine):
    """One engine with so few pages that sequences preempt one another all the time."""

    config: ClassVar[EngineConfig] = EngineConfig(page_size=4, pages=30, max_batch=5, step_tokens=24, max_queue=1000)

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(model(), self.config)
        self.sent: dict[int, tuple[Sequence, tuple[int, ...], int]] = {}
        self.scored: dict[int, tuple[Sequence, Scored]] = {}
        self.idle_steps: dict[int, int] = {}

    @rule(prompt=prompts, n=st.integers(1, 25))
    def submit(self, prompt: tuple[int, ...], n: int) -> None:
        seq = self.engine.submit(prompt, Sampling(temperature=0, max_tokens=n))
        self.sent[seq.id] = (seq, prompt, n)

    @rule(prompt=prompts, n=st.integers(1, 8), copies=st.integers(2, 4))
    def submit_choices(self, prompt: tuple[int, ...], n: int, copies: int) -> None:
        for i in range(copies):
            seq = self.engine.submit(prompt, Sampling(temperature=0, max_tokens=n), n_index=i)
            self.sent[seq.id] = (seq, prompt, n)

    @rule(
        stem=stem,
        tails=st.lists(st.lists(st.integers(1, 95), min_size=2, max_size=20), min_size=1, max_size=4),
        cut=st.integers(1, 50),
    )
    def submit_scores(self, stem: tuple[int, ...], tails: list[list[int]], cut: int) -> None:
        for tail in tails:
            ids = (*stem, *tail)
            item = Scored(ids, min(cut, len(ids) - 1))
            seq = self.engine.submit_score(item)
            self.scored[seq.id] = (seq, item)

    @rule(times=st.integers(1, 12))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.engine.step()

    @rule(times=st.integers(1, 12))
    def advance(self, times: int) -> None:
        """As a loop steps: what was chosen is told while the next step computes."""
        for _ in range(times):
            self.engine._advance()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from([s for s, _, _ in self.sent.values()]))
        self.engine.cancel(seq)
        assert seq.done and not seq.lease.pages

    @rule()
    def forget(self) -> None:
        self.engine.forget()

    @invariant()
    def books_are_kept(self) -> None:
        scheduler, pages = self.engine._scheduler, self.engine._pages
        held = Counter(p for s in scheduler.everyone() for p in s.lease.pages)
        idle = scheduler.prefix._idle
        assert [pages.holders(p) for p in range(pages.count)] == [held[p] for p in range(pages.count)]
        assert not set(held) & set(idle) and len(held) + len(idle) == pages.count - pages.free
        assert all(held[p] == 1 for p in held) or self.engine._cache.shares
        assert all(not s.lease.pages for waiting in scheduler.waiting.values() for s in waiting)

    def teardown(self) -> None:
        tokens = sum(len(p) + n for _, p, n in self.sent.values()) + sum(len(i.ids) for _, i in self.scored.values())
        for _ in range(20 * tokens + 50):  # nobody starves: bounded steps, preemptions included
            if self.engine.idle:
                break
            self.engine.step()
        assert self.engine.idle
        for seq, prompt, n in self.sent.values():
            want = alone(prompt, n)
            got = tuple(seq.tokens[len(prompt) :])
            assert seq.finish is not None
            if seq.finish == "cancelled":
                assert got == want[: len(got)]
            else:
                assert got == want
                assert seq.finish == ("stop" if want[-1] == 0 else "length")
        for seq, item in self.scored.values():
            want_logprobs = logprobs_alone(tuple(item.ids), item.start)
            assert [t.id for t in seq.infos] == list(item.ids[item.start :])
            assert [t.logprob for t in seq.infos] == pytest.approx(want_logprobs, abs=1e-4)
        stats = self.engine.stats()
        assert stats.pages_free == stats.pages_total
        self.engine.forget()
        assert self.engine._pages.free == self.config.pages


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class SharedTraffic(Traffic):
    """The same over a cache whose sequences hold pages together, as the native and the CUDA runner do."""

    def __init__(self) -> None:
        super().__init__()
        self.engine._cache.shares = True
        self.engine._pages._move = None


TestSharedTraffic = SharedTraffic.TestCase
TestSharedTraffic.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class RoomyTraffic(Traffic):
    config = EngineConfig(page_size=8, pages=400, max_batch=16, step_tokens=64, prefix_cache=False, max_queue=1000)


TestRoomyTraffic = RoomyTraffic.TestCase
TestRoomyTraffic.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    engine = Engine(model(), EngineConfig(page_size=4, pages=200, max_batch=4, step_tokens=16, prefix_cache=False))
    long = engine.submit([1 + i % 90 for i in range(200)], Sampling(temperature=0, max_tokens=2, ignore_eos=True))
    engine.step()
    short = engine.submit([5, 6, 7, 8], Sampling(temperature=0, max_tokens=2, ignore_eos=True))
    engine.step()
    assert short.generated == 1 and long.generated == 0


def test_scores_and_streams_take_turns() -> None:
    engine = Engine(model(), EngineConfig(page_size=4, pages=400, max_batch=4, step_tokens=32, prefix_cache=False))
    scores = [engine.submit_score(Scored([1 + (i * 7 + j) % 90 for j in range(40)], 20)) for i in range(20)]
    engine.step()
    chat = engine.submit([3, 4, 5], Sampling(temperature=0, max_tokens=3, ignore_eos=True))
    for _ in range(4):
        engine.step()
    assert chat.done and not all(s.done for s in scores)
    engine.run_until_idle()
    assert all(s.done for s in scores)
