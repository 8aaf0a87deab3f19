"""Blocks named by their content: what is shared, what is copied, what is let go first, and what never meets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Sampling
from idiolect.core.errors import Unavailable
from idiolect.engine import Engine, EngineConfig
from idiolect.engine.pages import Pages
from idiolect.engine.prefix import PrefixCache, name, root
from idiolect.engine.sequence import Sequence
from idiolect.native.library import library
from tests.engine.tiny import tiny_model, tiny_native_model

GREEDY = Sampling(temperature=0, max_tokens=6, ignore_eos=True)
SIZE = 4


@pytest.fixture(params=["torch", "native"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "torch":
        return Engine(tiny_model(), EngineConfig(page_size=16, pages=40, runner="torch", step_tokens=128))
    try:
        library()
    except Unavailable as error:
        pytest.skip(error.message)
    return Engine(
        tiny_native_model(), EngineConfig(page_size=16, pages=40, runner="native", step_tokens=128, threads=1)
    )


def computed(cache: PrefixCache, pages: Pages, tokens: list[int], adapter: str | None = None) -> Sequence:
    """A sequence whose tokens are all computed and known."""
    seq = Sequence(1, tokens, Sampling(), limit=1, adapter=adapter)
    assert pages.grow(seq.lease, -(-len(tokens) // SIZE))
    seq.computed = len(tokens)
    cache.publish(seq, end=True)
    return seq


def look(cache: PrefixCache, tokens: list[int], adapter: str | None = None) -> int:
    found = cache.find(Sequence(2, tokens, Sampling(), limit=1, adapter=adapter), len(tokens))
    return len(found.pages) * SIZE + found.extra


@given(st.lists(st.integers(0, 2), min_size=16, max_size=40), st.lists(st.integers(0, 2), min_size=16, max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_longest_equal_beginning_is_found_to_the_token(a: list[int], b: list[int]) -> None:
    pages = Pages(64)
    cache = PrefixCache(pages, SIZE)
    computed(cache, pages, a)
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert look(cache, b) == (same if same >= 16 else 0)


def test_an_adapter_shares_with_itself_only() -> None:
    pages = Pages(64)
    cache = PrefixCache(pages, SIZE)
    tokens = list(range(24))
    computed(cache, pages, tokens, "dutch")
    assert look(cache, tokens, "dutch") == 24 and look(cache, tokens) == 0 and look(cache, tokens, "french") == 0
    assert len({root(None), root(""), root("a")}) == 3


def test_a_name_stands_for_everything_before_it() -> None:
    a, b = np.arange(4), np.arange(4, 8)
    assert name(name(root(None), a), b) != name(name(root(None), b), b) != name(root(None), b)


def test_the_least_recently_used_beginning_goes_first_and_its_end_before_its_start() -> None:
    pages = Pages(20)
    cache = PrefixCache(pages, SIZE)
    old, new = list(range(20)), list(range(100, 120))
    for tokens in (old, new):
        cache.release(computed(cache, pages, tokens).lease)
    assert cache.reclaimable == 10 and pages.free == 10
    assert look(cache, old) == 20  # used again: now the other one is older
    assert cache.evict(11) and look(cache, new) == 16 and look(cache, old) == 20
    assert cache.evict(12) and look(cache, new) == 0 and look(cache, old) == 20
    assert cache.evict(20) and not cache.evict(21)
    assert look(cache, old) == 0 and pages.free == 20


def test_held_pages_are_never_evicted() -> None:
    pages = Pages(6)
    cache = PrefixCache(pages, SIZE)
    seq = computed(cache, pages, list(range(20)))
    cache.hold(seq.lease.pages[:2])
    cache.release(seq.lease)
    assert not cache.evict(5) and pages.free == 4 and cache.reclaimable == 0


def test_sequences_hold_the_same_pages_and_part_where_they_differ(engine: Engine) -> None:
    """Sixteen-token pages: 40 equal tokens are two shared pages and eight copied tokens of the third."""
    stem = [1 + (7 * i) % 90 for i in range(40)]
    prompts = [[*stem, *tail] for tail in ([3, 4, 5], [6, 7], [8] * 9)]
    alone = []
    for prompt in prompts:
        engine.forget()
        alone.append(engine.generate([prompt], GREEDY)[0].ids)
    engine.forget()
    engine.generate([stem], GREEDY)
    seqs = [engine.submit(p, GREEDY) for p in prompts]
    engine.step()
    shared = {tuple(s.lease.pages[:2]) for s in seqs}
    assert len({s.lease.pages[2] for s in seqs}) == 3
    assert len(shared) == (1 if engine._cache.shares else 3)
    assert all(s.cached == 40 for s in seqs)
    engine.run_until_idle()
    assert [s.tokens[s.prompt :] for s in seqs] == alone


def test_without_prefix_caching_nothing_is_shared_and_nothing_changes(engine: Engine) -> None:
    prompt = [1 + (5 * i) % 90 for i in range(50)]
    first = engine.generate([prompt], GREEDY)[0]
    again = engine.generate([prompt], GREEDY)[0]
    assert again.usage.cached_tokens == 49
    config = EngineConfig(
        page_size=16, pages=40, runner=engine.config.runner, step_tokens=128, prefix_cache=False, threads=1
    )
    off = Engine(engine.model, config)
    results = [off.generate([prompt], GREEDY)[0] for _ in range(2)]
    assert [r.ids for r in results] == [first.ids, again.ids] and results[1].usage.cached_tokens == 0


def test_memory_as_small_as_the_sequence_is_enough(engine: Engine) -> None:
    """The beginning is in memory, and copying its last page would need one page more than there is."""
    config = EngineConfig(page_size=16, pages=3, runner=engine.config.runner, step_tokens=64, max_batch=2, threads=1)
    small = Engine(engine.model, config)
    prompt = [1 + (5 * i) % 90 for i in range(40)]
    how = Sampling(temperature=0, max_tokens=8, ignore_eos=True)
    first = small.generate([prompt], how)[0]
    assert small.generate([prompt], how)[0].ids == first.ids and small.stats().pages_free == 3
