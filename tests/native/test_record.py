"""A recorded model against the torch module it was recorded from: families, options, and what cannot be recorded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as T

from idiolect.engine import Engine, EngineConfig, Scored
from idiolect.models.gpt2 import GPT2
from idiolect.models.llama import Llama
from idiolect.native.matrices import gate_order
from idiolect.native.program import record
from idiolect.nn import Contiguous
from idiolect.nn.batch import Batch
from idiolect.nn.stored import Piece, Stored, materialise, plain
from idiolect.nn.tape import NotRecordable
from tests.engine.tiny import Letters

BASE = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 72,  # no multiple of 16: the gate's last tile is padded
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "one group": {"num_key_value_heads": 1},
    "odd groups": {"num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 100},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 48},
    "gelu": {"hidden_act": "gelu_pytorch_tanh"},
    "exact gelu": {"hidden_act": "gelu"},
    "qwen2": {"model_type": "qwen2"},
    "qwen2 window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3"},
    "mistral window": {"model_type": "mistral", "sliding_window": 21},
    "llama3 rope": {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 32}},
    "yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
}


def network(kind: Any, config: dict[str, Any]) -> Any:
    """Random weights, biases and norms, so that each of them shows."""
    model = kind(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            centre = 1.0 if parameter.ndim == 1 else 0.0
            parameter.copy_(centre + 0.15 * torch.randn(parameter.shape, generator=generator))
    model.tokenizer = Letters()
    return model.requires_grad_(False).eval()


def scores(model: Any, items: list[Scored], **config: Any) -> list[np.ndarray]:
    made = {"page_size": 16, "pages": 80, "step_tokens": 48, "max_batch": 8, "runner": "native", **config}
    engine = Engine(model, EngineConfig(**made))
    return [np.array([info.logprob for info in infos]) for infos in engine.score(items)]


def check(model: Any) -> None:
    """Log-probabilities of texts of odd lengths, computed in chunks and side by side, equal the torch reference's
    over keys and values that are rounded to fp16 too."""
    items = [Scored(tuple(1 + (7 * i * i + 3 * n) % 90 for i in range(n)), 1) for n in (2, 17, 61, 100)]
    model.attention = "reference"
    for item, found in zip(items, scores(model, items, threads=2), strict=True):
        cache = Contiguous(model.state_specs(), capacity=128, dtype=torch.float16)
        with torch.inference_mode():
            every = model(cache.batch([item.ids])).log_softmax(-1)
        want = every[torch.arange(len(item.ids) - 1), torch.tensor(item.ids[1:])]
        np.testing.assert_allclose(found, want.numpy(), atol=1e-3)
        assert np.abs(found - want.numpy()).mean() < 3e-4  # a sum in another order may round the other way


@pytest.mark.parametrize("name", VARIANTS)
def test_llama_family(lib: Any, name: str) -> None:
    check(network(Llama, {**BASE, **VARIANTS[name]}))


@pytest.mark.parametrize("changes", [{}, {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}])
def test_gpt2(lib: Any, changes: dict[str, Any]) -> None:
    base = {"model_type": "gpt2", "vocab_size": 96, "n_embd": 48, "n_layer": 2, "n_head": 3, "n_positions": 128}
    check(network(GPT2, {**base, **changes}))


@pytest.mark.parametrize("isa", ["portable", "avx2"], indirect=True)
def test_other_instruction_sets_compute_the_same_model(lib: Any, isa: str) -> None:
    check(network(Llama, BASE))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head_dim": 24}, "width 24"),
        ({"hidden_act": "relu", "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "trained length"),
    ],
)
def test_what_cannot_be_recorded_says_why(changes: dict[str, Any], reason: str) -> None:
    model = network(Llama, {**BASE, **changes})
    with pytest.raises(NotRecordable, match=reason):
        record(model, 512)


def test_a_softcap_is_not_recorded() -> None:
    from idiolect.nn import attend, tape

    batch = tape.batch()
    q, k, v = tape.Sym("linear", (), 96).view(tape.ROWS, 3, 2, 16).unbind(1)
    node = attend(q, k, v, batch, 0, softcap=30.0)
    from idiolect.native.lower import Lowering

    with pytest.raises(NotRecordable, match="softcap"):
        Lowering(64)._attend(node)


def test_unknown_torch_on_a_recorded_value_is_refused() -> None:
    from idiolect.nn import tape

    value = tape.Sym("linear", (), 8)
    for bad in (
        lambda: torch.tanh(value),
        lambda: value.float(),  # noqa: PLW0108
        lambda: value + torch.zeros(3),
        lambda: value.view(2, 4),
    ):
        with pytest.raises(NotRecordable):
            bad()


def test_auto_falls_back_to_torch_and_says_why(lib: Any) -> None:
    model = network(Llama, {**BASE, "head_dim": 24})
    hold(model)
    engine = Engine(model, EngineConfig(page_size=16, pages=20))
    assert engine.stats().runner.startswith("torch") and "width 24" in engine.stats().runner
    with pytest.raises(NotRecordable):
        Engine(network(Llama, {**BASE, "head_dim": 24}), EngineConfig(pages=20, runner="native"))


def test_no_compiler_means_torch_and_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    model = network(Llama, BASE)
    want = model(Batch.pack([[3, 4, 5]])).log_softmax(-1)
    hold(model)
    engine = Engine(model, EngineConfig(page_size=16, pages=20))
    assert "no C++ compiler" in engine.stats().runner and engine.stats().runner.startswith("torch")
    (found,) = engine.score([Scored((3, 4, 5), 1)])
    assert [i.logprob for i in found] == pytest.approx([float(want[0, 4]), float(want[1, 5])], abs=0.05)


def test_stored_layers_compute_in_torch_too() -> None:
    model = network(Llama, {**BASE, "tie_word_embeddings": True})
    batch = Batch.pack([[3, 4, 5, 6]])
    want = model(batch)
    hold(model)
    torch.testing.assert_close(model(batch), want)
    torch.testing.assert_close(materialise(model, torch.float64)(batch).float(), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("weights", "within"), [("q8", 0.06), ("q4", 1.0)])
def test_float_weights_quantised_at_load_stay_close(lib: Any, weights: str, within: float) -> None:
    model = network(Llama, BASE)
    item = Scored(tuple(1 + (5 * i) % 90 for i in range(60)), 1)
    (plain_scores,), (found,) = scores(model, [item]), scores(model, [item], weights=weights)
    assert 0 < np.abs(found - plain_scores).mean() < within


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_agree(lib: Any, threads: int) -> None:
    model = network(Llama, BASE)
    items = [Scored(tuple(1 + (5 * i + n) % 90 for i in range(30 + n)), 1) for n in range(4)]
    for a, b in zip(scores(model, items, threads=threads), scores(model, items, threads=3), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("step_tokens", "kv"), [(9, "fp16"), (16, "fp16"), (33, "int8")])
def test_chunked_equals_whole_bit_for_bit(lib: Any, step_tokens: int, kv: str) -> None:
    model = network(Llama, {**BASE, **VARIANTS["mistral window"]})
    item = Scored(tuple(1 + (5 * i * i) % 90 for i in range(120)), 1)
    (whole,) = scores(model, [item], step_tokens=200, kv=kv)
    (chunked,) = scores(model, [item], step_tokens=step_tokens, kv=kv)
    assert np.array_equal(whole, chunked)


class Rounded(Contiguous):
    """Keys and values rounded to int8, with a scale for every head and position."""

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> None:
        rounded = []
        for x in (k, v):
            scale = x.abs().amax(-1, keepdim=True) / 127
            rounded.append((x / scale).round() * scale)
        super().extend(layer, *rounded)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"], indirect=True)
@pytest.mark.parametrize("name", ["odd groups", "wide heads", "qwen2 window"])
def test_int8_keys_and_values_equal_the_reference_that_rounds_them(lib: Any, isa: str, name: str) -> None:
    model = network(Llama, {**BASE, **VARIANTS[name]})
    model.attention = "reference"
    item = Scored(tuple(1 + (7 * i * i + 3) % 90 for i in range(70)), 1)
    (found,) = scores(model, [item], kv="int8")
    cache = Rounded(model.state_specs(), capacity=128, dtype=torch.float32)
    with torch.inference_mode():
        every = model(cache.batch([item.ids])).log_softmax(-1)
    want = every[torch.arange(69), torch.tensor(item.ids[1:])].numpy()
    (fine,) = scores(model, [item])
    assert np.abs(found - want).mean() < 0.1 * np.abs(fine - want).mean()  # the same error, not one of this size


def test_gate_order_alternates_tiles() -> None:
    order = gate_order(40)
    assert order[:17].tolist() == [*range(16), 32] and order[40:57].tolist() == [*range(16, 32), 48]
    assert len(set(order.tolist())) == 80 and order.max() < 96


def hold(model: Any) -> None:
    """Hold every matrix of a model as stored rows."""
    for module in model.modules():
        if hasattr(module, "hold") and module.weight is not None:
            rows: Stored = plain(module.weight)
            module.hold(rows)


def test_fused_matrices_of_several_types(lib: Any) -> None:
    """q, k and v of different kinds become products into their own columns; gate and up share the wider kind."""
    model = network(Llama, {**BASE, "hidden_size": 64, "intermediate_size": 96})
    item = Scored(tuple(1 + (5 * i) % 90 for i in range(50)), 1)
    kinds = itertools.cycle([T.Q4_0, T.Q8_0, T.Q5_1, T.F16])
    for module in model.modules():
        if hasattr(module, "hold") and module.weight is not None:
            cuts = {128: (64, 32, 32), 192: (96, 96)}.get(module.weight.shape[0], (module.weight.shape[0],))
            pieces = []
            for part in np.split(module.weight.numpy(), np.cumsum(cuts)[:-1]):
                kind = next(kinds)
                data = np.ascontiguousarray(gguf.quants.quantize(part, kind)).view(np.uint8).reshape(len(part), -1)
                pieces.append(Piece(int(kind), data))
            module.hold(Stored(tuple(pieces), module.weight.shape[1]))
    plan = record(model, 64)
    assert len({m.kind for m in plan.matrices}) >= 3 and any(m.column for m in plan.matrices)
    with torch.inference_mode():
        every = model(Batch.pack([item.ids])).log_softmax(-1)
    want = every[torch.arange(49), torch.tensor(item.ids[1:])].numpy()
    (found,) = scores(model, [item])
    assert np.abs(found - want).mean() < 0.05
    assert np.corrcoef(found, want)[0, 1] > 0.999
