"""Adapters in the native kernels against the torch module that they are mounted in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from idiolect import tune
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, Unavailable
from idiolect.engine import Engine, EngineConfig, Scored
from idiolect.native.library import library
from idiolect.nn import Batch
from tests.engine.tiny import tiny_native_model
from tests.tune.tiny import METHODS, shake

try:
    library()
except Unavailable as error:
    pytest.skip(error.message, allow_module_level=True)

SERVED = ("lora", "lora-all", "rslora", "dora", "ia3", "prefix", "prompt")
GREEDY = Sampling(temperature=0.0, max_tokens=10, ignore_eos=True, logprobs=0)
PROMPT = [40 + (i * i) % 31 for i in range(25)]


def model(**changes: Any) -> Any:
    made = tiny_native_model(intermediate_size=72, hidden_size=80, **changes)  # padded tiles, and blocks of 32 cut
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return made


def adapter(base: Any, name: str) -> tune.Adapter:
    return shake(tune.attach(base, METHODS[name]), seed=SERVED.index(name), scale=0.1).detach()


def served(base: Any, names: tuple[str, ...] = SERVED, **changes: Any) -> Engine:
    made = Engine(base, EngineConfig(pages=48, step_tokens=64, runner="native", threads=2, **changes))
    for name in names:
        made.add_adapter(name, adapter(base, name))
    return made


def expected(base: Any, name: str) -> torch.Tensor:
    mounted = tune.mount(base, adapter(base, name))
    with torch.no_grad():
        found = base(Batch.pack([PROMPT])).log_softmax(-1)
    mounted.detach()
    return found


@pytest.mark.parametrize("kind", ["plain", "biases"])
@pytest.mark.parametrize("name", SERVED)
def test_scores_equal_the_mounted_model(name: str, kind: str) -> None:
    base = model(**({"attention_bias": True, "mlp_bias": True} if kind == "biases" else {}))
    if name == "dora" and kind == "biases":
        with pytest.raises(BadInput, match="no kernel"):
            served(base, ("dora",))
        return
    want = expected(base, name)
    with torch.no_grad():
        plain = base(Batch.pack([PROMPT])).log_softmax(-1)
    engine = Engine(base, _config())
    engine.add_adapter(name, adapter(base, name))
    assert engine.stats().runner.startswith("native")
    for start in (5, 24):  # many rows at once, and the one-row way
        (found,) = engine.using(name).score([Scored(PROMPT[: start + 1] if start == 24 else PROMPT, start)])
        for i, info in enumerate(found):
            row, token = start - 1 + i, PROMPT[start + i]
            assert info.logprob == pytest.approx(float(want[row, token]), abs=0.03)  # keys and values are fp16
    far = max(abs(float(want[r, PROMPT[r + 1]] - plain[r, PROMPT[r + 1]])) for r in range(4, 24))
    assert far > 1  # the adapter matters far more than the tolerance


def _config() -> EngineConfig:
    return EngineConfig(pages=48, step_tokens=64, runner="native", threads=2)


def test_a_mixed_batch_equals_each_alone() -> None:
    base = model()
    names: list[str | None] = [None, *SERVED, "lora", None]
    prompts = [PROMPT[: 9 + i] for i in range(len(names))]
    mixed = served(base, prefix_cache=False).generate(prompts, GREEDY, adapter=names)
    alone_engine = served(base, prefix_cache=False)
    for name, prompt, result in zip(names, prompts, mixed, strict=True):
        (alone,) = alone_engine.generate([prompt], GREEDY, adapter=name)
        assert result.ids == alone.ids, name
    without = Engine(base, _config())
    assert without.generate([prompts[0]], GREEDY)[0].ids == mixed[0].ids


def test_adapters_come_and_go_while_others_run() -> None:
    base = model()
    engine = served(base, ("lora", "ia3"))
    first = engine.generate([PROMPT], GREEDY, adapter="ia3")[0].ids
    outputs: list[Any] = []
    engine.submit(PROMPT, GREEDY, adapter="ia3", sink=outputs.append)
    engine.step()
    for round in range(3):
        engine.remove_adapter("lora")
        engine.add_adapter("lora", shake(tune.attach(base, METHODS["lora"]), seed=50 + round).detach())
        engine.step()
    engine.remove_adapter("ia3")
    engine.run_until_idle()
    assert [t.id for o in outputs for t in o.tokens] == first
    assert len(engine._runner._adapters._made) == 1  # type: ignore[attr-defined]


def test_a_kind_without_a_kernel_is_refused_and_auto_says_why_torch_serves(tmp_path: Any) -> None:
    from idiolect.nn.stored import plain

    base = model()
    engine = served(base, ())
    mounted = tune.attach(base, METHODS["bottleneck"])
    mounted.save(tmp_path / "bottleneck")
    with pytest.raises(BadInput, match="runner: torch"):
        engine.add_adapter("bottleneck", mounted.detach())
    assert "bottleneck" not in engine.adapters and len(engine.generate([PROMPT], GREEDY)[0].ids) == 10
    stored = model()
    for module in stored.modules():
        if hasattr(module, "pack") and module.rows() is None and module.weight is not None:
            module.hold(plain(module.dense()))
    auto = Engine(stored, EngineConfig(pages=48, step_tokens=64), {"b": tmp_path / "bottleneck"})
    assert "adapter b: adapters of type IDIOLECT_BOTTLENECK have no kernel" in auto.stats().runner
    assert len(auto.generate([PROMPT], GREEDY, adapter="b")[0].ids) == 10
