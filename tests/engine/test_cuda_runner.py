"""The GPU's runner keeps the engine's promises: graphs == eager == torch, batched == alone, every page comes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, Unavailable
from idiolect.engine import Engine, EngineConfig, Scored
from idiolect.models.families import family_of
from idiolect.models.llama import Llama
from tests import gpu
from tests.engine.tiny import VOCABULARY, Letters, tiny_native_model

pytestmark = pytest.mark.cuda
GREEDY = Sampling(temperature=0, max_tokens=12, ignore_eos=True)
PROMPTS = [[1 + (i * j) % 90 for j in range(1, 4 + 9 * i)] for i in range(1, 8)]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"model_type": "qwen3", "num_attention_heads": 6, "num_key_value_heads": 2},
    "qwen2": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
    "yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    where = gpu.kernels()
    if where.type == "cpu":  # the interpreter
        monkeypatch.setattr("idiolect.engine.cuda_runner.missing", lambda device: "")
        monkeypatch.setattr("idiolect.engine.runner._gpu", lambda model: True)
    return where


def config(**changes: Any) -> EngineConfig:
    made = {"page_size": 16, "pages": 60, "max_batch": 8, "step_tokens": 64, "runner": "cuda", **changes}
    return EngineConfig(**made)


def gpt2() -> Any:
    raw = {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 48, "n_layer": 2, "n_head": 3, "n_positions": 256}
    model = family_of(raw)(raw)
    model.initialise(0.2, torch.Generator().manual_seed(0))
    model.tokenizer = Letters()  # type: ignore[assignment]
    return model.requires_grad_(False).eval()


def model_of(name: str) -> Any:
    return gpt2() if name == "gpt2" else tiny_native_model(**FAMILIES[name])


def answers(engine: Engine, prompts: list[list[int]], **how: Any) -> list[list[int]]:
    return [result.ids for result in engine.generate(prompts, GREEDY, **how)]  # type: ignore[arg-type]


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_equals_torch_token_for_token(device: torch.device, family: str) -> None:
    """Also the second and third time, when steps are recorded and replayed; and chunked, since a step has 64 tokens."""
    model = model_of(family)
    want = answers(Engine(model, config(runner="torch")), PROMPTS)
    engine = Engine(model.to(device), config())
    assert engine.runner.startswith("cuda"), engine.runner
    for _ in range(3 if device.type == "cuda" else 1):
        engine.forget()
        assert answers(engine, PROMPTS) == want
    assert engine.stats().pages_free == 60
    if device.type == "cuda":
        assert engine._runner.graphs > 2  # type: ignore[attr-defined]


def test_batched_is_alone_and_prefixes_change_nothing(device: torch.device) -> None:
    model = tiny_native_model().to(device)
    engine, plain = Engine(model, config()), Engine(model, config(prefix_cache=False))
    together = answers(engine, PROMPTS)
    again = answers(engine, PROMPTS)
    assert engine.stats().tokens_cached > 0 and plain.stats().tokens_cached == 0
    assert together == again == answers(plain, PROMPTS)
    assert [answers(plain, [prompt])[0] for prompt in PROMPTS] == together


def test_scores_equal_the_module(device: torch.device) -> None:
    model = tiny_native_model()
    items = [Scored(prompt, 1 + i) for i, prompt in enumerate(PROMPTS)]
    want = Engine(model, config(runner="torch")).score(items, top=2)
    got = Engine(model.to(device), config()).score(items, top=2)
    for a, b in zip(want, got, strict=True):
        assert [t.id for t in a] == [t.id for t in b]
        assert [t.logprob for t in b] == pytest.approx([t.logprob for t in a], abs=1e-3)


def test_sampled_tokens_repeat_whatever_the_batch(device: torch.device) -> None:
    engine = Engine(tiny_native_model().to(device), config())
    how = [Sampling(temperature=0.9, top_p=0.9, max_tokens=8, seed=i, ignore_eos=True) for i in range(len(PROMPTS))]
    together = [result.ids for result in engine.generate(PROMPTS, how)]  # type: ignore[arg-type]
    alone = [engine.generate([p], s)[0].ids for p, s in zip(PROMPTS, how, strict=True)]
    assert together == alone


def test_every_page_comes_back(device: torch.device) -> None:
    """More sequences than the pages hold, some of them cancelled: preempted ones still answer as if alone."""
    model = tiny_native_model().to(device)
    engine = Engine(model, config(pages=14))
    want = answers(Engine(model, config()), PROMPTS)
    seqs = [engine.submit(prompt, GREEDY) for prompt in PROMPTS]
    for _ in range(4):
        engine.step()
    engine.cancel(seqs[2])
    engine.run_until_idle()
    for seq, prompt, ids in zip(seqs, PROMPTS, want, strict=True):
        own = seq.tokens[len(prompt) :]
        assert own == ids[: len(own)] and (len(own) == 12 or seq is seqs[2])
    engine.forget()
    assert engine._pages.free == 14


@pytest.mark.parametrize(("weights", "bound"), [("q8", 0.1), ("q4", 1.0)])
def test_quantised_weights_stay_near(device: torch.device, weights: Any, bound: float) -> None:
    model = tiny_native_model()
    items = [Scored(prompt, 1) for prompt in PROMPTS[:3]]
    want = Engine(model, config(runner="torch")).score(items)
    engine = Engine(model.to(device), config(weights=weights))
    got = engine.score(items)
    off = [abs(x.logprob - y.logprob) for a, b in zip(want, got, strict=True) for x, y in zip(a, b, strict=True)]
    assert 0 < sum(off) / len(off) < bound
    assert weights[1] in engine.runner
    assert [answers(engine, [p])[0] for p in PROMPTS[:3]] == answers(engine, PROMPTS[:3])


def test_adapters_in_one_batch_equal_each_alone(device: torch.device) -> None:
    from idiolect import tune

    model = tiny_native_model().to(device)
    engine = Engine(model, config())
    plain = answers(engine, PROMPTS)
    for seed, method in ((1, "lora"), (2, "prefix"), (3, "prompt")):
        mounted = tune.attach(model, tune.TuneConfig(method=method, seed=seed))  # type: ignore[arg-type]
        draw = torch.Generator().manual_seed(seed)
        for parameter in mounted.parameters():
            parameter.data += torch.randn(parameter.shape, generator=draw).to(device) * 0.3
        engine.add_adapter(method, mounted.detach())
    named: list[str | None] = ["lora", None, "prefix", "prompt", "lora", None, "prefix"]
    together = answers(engine, PROMPTS, adapter=named)
    assert together == [answers(engine, [p], adapter=n)[0] for p, n in zip(PROMPTS, named, strict=True)]
    assert [together[1], together[5]] == [plain[1], plain[5]]
    assert all(together[i] != plain[i] for i in (0, 2, 3))


def test_a_model_that_is_not_on_a_gpu_is_refused() -> None:
    with pytest.raises(Unavailable, match="on cpu"):
        Engine(tiny_native_model(), config())


def test_falls_back_visibly(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    if device.type == "cpu":
        pytest.skip(gpu.REASON)
    wide = tiny_native_model().double().to(device)
    engine = Engine(wide, config(runner="auto"))
    assert engine.runner.startswith("torch cuda") and "no float64" in engine.runner
    with pytest.raises(Unavailable, match="float64"):
        Engine(wide, config())
    with pytest.raises(BadInput, match="int8"):
        Engine(tiny_native_model().to(device), config(kv="int8", runner="auto"))


def test_stored_rows_become_floats_on_the_gpu(device: torch.device) -> None:
    from idiolect.nn import Linear
    from idiolect.nn.stored import plain

    model: Llama = tiny_native_model()
    for module in model.modules():
        if isinstance(module, Linear) and not module._tied:
            module.hold(plain(module.dense()))
    model.embed.hold(plain(model.embed.dense()))
    if device.type == "cpu":
        pytest.skip(gpu.REASON)
    engine = Engine(model.to(device), config(runner="auto"))
    assert "bfloat16" in engine.runner and len(answers(engine, PROMPTS)[0]) == 12
