"""The planner's counts against the models themselves: parameters, adapters, and what autograd keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from idiolect import weights
from idiolect.core.errors import BadInput
from idiolect.core.plan import memory, shape_of
from idiolect.core.plan.activations import kept, layer
from idiolect.core.plan.parameters import Adapter, linear, lora, total
from idiolect.models.families import family_of
from idiolect.nn import Batch
from idiolect.tune import TuneConfig, attach
from tests.models import tiny

SMALL = {
    "model_type": "llama",
    "vocab_size": 400,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
GPT2 = {"model_type": "gpt2", "vocab_size": 400, "n_embd": 96, "n_layer": 3, "n_head": 6, "n_positions": 256}


@pytest.mark.parametrize("name", tiny.VARIANTS)
def test_parameters_are_the_model_s(name: str) -> None:
    kind, changes = tiny.VARIANTS[name]
    base = {"gpt2": tiny.GPT2, "bert": tiny.BERT, "roberta": tiny.BERT}.get(kind, tiny.LLAMA)
    config = AutoConfig.for_model(kind, **{**base, **changes}).to_dict()
    with torch.device("meta"):
        model = family_of(config)(config)
    assert total(shape_of(config)) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("qwen2_moe", {"num_experts": 4, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40}),
        ("qwen3_moe", {"num_experts": 4, "moe_intermediate_size": 24, "head_dim": 16}),
        ("phi3", {"pad_token_id": 0}),
        ("smollm3", {"pad_token_id": 0}),
        ("granite", {}),
        ("gemma", {"head_dim": 8}),
    ],
)
def test_parameters_are_those_of_models_that_we_only_plan(kind: str, changes: dict[str, Any]) -> None:
    config = AutoConfig.for_model(kind, **{**tiny.LLAMA, **changes})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert total(shape_of(config.to_dict())) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("kind", ["deepseek_v3", "gpt_neox", "gemma2", "lama"])
def test_a_model_that_would_be_miscounted_is_refused(kind: str) -> None:
    with pytest.raises(BadInput, match=f"no plan is known for models of type '{kind}'") as error:
        shape_of({**SMALL, "model_type": kind})
    assert error.value.hint and (kind != "lama" or "did you mean 'llama'" in error.value.hint)


def network(config: dict[str, Any], method: str, dtype: torch.dtype, targets: tuple[str, ...]) -> Any:
    model = family_of(config)(config)
    model.initialise()
    model.to(dtype).train()
    if method != "full":
        model.requires_grad_(False)
        if method == "qlora":
            weights.quantise_model(model, "nf4")
        attach(model, TuneConfig(method="lora", rank=4, targets=targets))
    return model


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
CASES = [
    *((SMALL, m, t, ATTENTION) for m in ("full", "lora", "qlora") for t in (torch.float32, torch.bfloat16)),
    (SMALL, "lora", torch.float32, (*ATTENTION, "gate_proj", "up_proj", "down_proj")),
    (SMALL, "lora", torch.float32, ("q_proj", "v_proj")),
    (GPT2, "full", torch.float32, ()),
    ({**SMALL, "model_type": "qwen3", "head_dim": 16}, "full", torch.float32, ()),
]


@pytest.mark.parametrize("lengths", [(20, 44, 13), (150, 20)])
@pytest.mark.parametrize(("config", "method", "dtype", "targets"), CASES)
def test_activations_are_what_autograd_keeps(
    config: dict[str, Any], method: str, dtype: torch.dtype, targets: tuple[str, ...], lengths: tuple[int, ...]
) -> None:
    model, shape = network(config, method, dtype, targets), shape_of(config)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}

    def note(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        hidden = model.hidden(Batch.pack([list(range(n)) for n in lengths]))
    which: dict[str, Any] = {"length": max(lengths)}
    which |= {} if method == "full" else {"targets": targets, "rank": 4}
    planned = kept(shape, sum(lengths), dtype.itemsize, full=method == "full", **which).value
    real = sum(found.values()) + hidden.nbytes
    assert planned == pytest.approx(real, rel=0.02 if method == "full" else 0.05), (planned, real)
    assert layer(shape, 4, full=True) > layer(shape, 4, full=False, targets=ATTENTION, rank=4)


def test_quantised_bytes_and_adapters_are_the_model_s() -> None:
    shape = shape_of(SMALL)
    model = network(SMALL, "qlora", torch.bfloat16, ATTENTION)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    planned = lora(shape, Adapter(4, ATTENTION)).total
    assert planned is not None and planned.value == trained
    held = sum(m.nbytes for m in model.modules() if isinstance(m, weights.QuantTensor))
    assert held == pytest.approx(memory.width("nf4") * linear(shape), rel=0.02)
