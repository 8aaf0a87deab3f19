"""Adapters chosen per request: whatever else is in the batch, in the cache, or comes and goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import tune
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, ContextOverflow, NotFound
from idiolect.engine import Engine, EngineConfig, Scored
from idiolect.nn import Batch
from tests.engine.tiny import tiny_model
from tests.tune.tiny import METHODS, shake

GREEDY = Sampling(temperature=0.0, max_tokens=12, ignore_eos=True, logprobs=0)
PROMPT = [40 + i % 17 for i in range(30)]


def adapters(model: Any, scale: float = 0.15) -> dict[str, tune.Adapter]:
    return {
        n: shake(tune.attach(model, c), seed=7 + i, scale=scale).detach() for i, (n, c) in enumerate(METHODS.items())
    }


def engine(model: Any, **changes: Any) -> Engine:
    made = Engine(model, EngineConfig(pages=changes.pop("pages", 64), step_tokens=48, **changes))
    for name, adapter in adapters(model).items():
        made.add_adapter(name, adapter)
    return made


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The specification: the whole text again for every token, with the adapter mounted."""
    tokens = list(ids)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model(Batch.pack([tokens]))[-1].argmax()))
    return tokens[len(ids) :]


def test_each_adapter_answers_as_the_model_that_it_is_mounted_in() -> None:
    model = tiny_model()
    for name, adapter in adapters(model).items():
        mounted = tune.mount(model, adapter)
        expected = greedy(model, PROMPT, 12)
        mounted.detach()
        served = Engine(model, EngineConfig(pages=32, step_tokens=48))
        served.add_adapter(name, adapter)
        (result,) = served.generate([PROMPT], GREEDY, adapter=name)
        assert result.ids == expected, name
        assert result.usage.prompt_tokens == len(PROMPT)


@pytest.mark.parametrize("pages", [64, 11], ids=["roomy", "tight"])
def test_a_mixed_batch_equals_each_alone(pages: int) -> None:
    model = tiny_model()
    names: list[str | None] = [None, *METHODS, "lora", None]
    prompts = [PROMPT[: 6 + i] for i in range(len(names))]
    together = engine(model, pages=pages, prefix_cache=False)
    mixed = together.generate(prompts, GREEDY, adapter=names)
    assert together.stats().preemptions > 0 or pages == 64
    different = set()
    for name, prompt, result in zip(names, prompts, mixed, strict=True):
        alone = engine(model, prefix_cache=False)
        (expected,) = alone.generate([prompt], GREEDY, adapter=name)
        assert result.ids == expected.ids, name
        for a, b in zip(result.tokens, expected.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-6)
        different.add(tuple(alone.generate([PROMPT], GREEDY, adapter=name)[0].ids))
    assert len(different) > len(METHODS) // 2


def test_a_beginning_is_found_again_within_one_adapter_only() -> None:
    model = tiny_model()
    served = engine(model)
    fresh = {n: engine(model, prefix_cache=False).generate([PROMPT], GREEDY, adapter=n)[0] for n in (None, *METHODS)}
    for name in (None, *METHODS):
        (first,) = served.generate([PROMPT], GREEDY, adapter=name)
        assert first.usage.cached_tokens == 0, name
        assert first.ids == fresh[name].ids
    for name in (None, *METHODS):
        (again,) = served.generate([PROMPT], GREEDY, adapter=name)
        assert 16 <= again.usage.cached_tokens < len(PROMPT), name
        assert again.ids == fresh[name].ids


def test_an_adapter_of_the_same_name_starts_anew_and_runs_end_with_the_old_one() -> None:
    model = tiny_model()
    one, two = adapters(model)["lora"], shake(tune.attach(model, METHODS["lora"]), seed=99, scale=0.3).detach()
    expected = {}
    for key, adapter in (("one", one), ("two", two)):
        alone = Engine(model, EngineConfig(pages=32, step_tokens=48))
        alone.add_adapter("mine", adapter)
        expected[key] = alone.generate([PROMPT], GREEDY, adapter="mine")[0].ids
    assert expected["one"] != expected["two"]
    served = Engine(model, EngineConfig(pages=32, step_tokens=48))
    served.add_adapter("mine", one)
    outputs: list[Any] = []
    running = served.submit(PROMPT, GREEDY, adapter="mine", sink=outputs.append)
    for _ in range(4):
        served.step()
    served.remove_adapter("mine")
    with pytest.raises(NotFound, match="no adapter 'mine'"):
        served.submit(PROMPT, GREEDY, adapter="mine")
    served.add_adapter("mine", two)
    assert served.generate([PROMPT], GREEDY, adapter="mine")[0].ids == expected["two"]
    served.run_until_idle()
    assert running.done and [t.id for o in outputs for t in o.tokens] == expected["one"]
    served.forget()
    stats = served.stats()
    assert stats.pages_free == stats.pages_total


def test_scores_are_the_adapters_own() -> None:
    model = tiny_model()
    served = engine(model)
    for name in METHODS:
        mounted = tune.mount(model2 := tiny_model(), _again(model2, name))
        with torch.no_grad():
            expected = model2(Batch.pack([PROMPT])).log_softmax(-1)
        mounted.detach()
        (found,) = served.using(name).score([Scored(PROMPT, 10)])
        for i, info in enumerate(found):
            assert info.logprob == pytest.approx(float(expected[9 + i, PROMPT[10 + i]]), abs=1e-6), name


def _again(model: Any, name: str) -> tune.Adapter:
    return adapters(model)[name]


def test_virtual_tokens_take_room_and_penalties_do_not_see_them() -> None:
    model = tiny_model()
    served = engine(model, pages=4)  # 64 tokens
    room = served.capacity - 5
    assert served.using("prefix").capacity == room
    with pytest.raises(ContextOverflow, match=f"holds {room}"):
        served.submit([40] * room, GREEDY, adapter="prefix")
    for name in ("prefix", "prompt"):
        (result,) = served.generate([[40] * (room - 3)], Sampling(temperature=0.0, ignore_eos=True), adapter=name)
        assert len(result.ids) == 3 and result.finish == "length"
    how = Sampling(temperature=0.0, max_tokens=4, repetition_penalty=1.3, ignore_eos=True)
    served.generate([PROMPT[:8]], how, adapter="prompt")


def test_adding_wrong_ones_leaves_the_engine_as_it_was(tmp_path: Path) -> None:
    model = tiny_model()
    served = engine(model)
    with pytest.raises(BadInput, match="already"):
        served.add_adapter("lora", adapters(tiny_model())["ia3"])
    with pytest.raises(NotFound, match="did you mean 'lora'"):
        served.generate([PROMPT], GREEDY, adapter="loraa")
    with pytest.raises(NotFound, match="is no adapter"):
        served.add_adapter("new", tmp_path)
    assert "new" not in served.adapters
    with pytest.raises(BadInput, match="not an adapter"):
        served.add_adapter("whole", tune.attach(tiny_model(), tune.TuneConfig("full")).detach())


def test_from_a_folder(tmp_path: Path) -> None:
    model = tiny_model()
    shake(tune.attach(model, METHODS["lora"]), scale=0.3).save(tmp_path / "one")
    expected = greedy(model, PROMPT, 12)
    other = tiny_model()
    served = Engine(other, EngineConfig(pages=32, step_tokens=48))
    base = served.generate([PROMPT], GREEDY)[0].ids
    served.add_adapter("one", tmp_path / "one")
    assert served.using("one").generate([PROMPT], GREEDY)[0].ids == expected != base
