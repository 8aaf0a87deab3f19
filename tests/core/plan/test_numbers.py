"""The planner's arithmetic against numbers that anyone can check (published, or worked by hand)."""

from __future__ import annotations

import pytest

from idiolect.core.errors import BadInput
from idiolect.core.plan import MACHINES, flops, machine, memory, rules, shape_of
from idiolect.core.plan.activations import chunk
from idiolect.core.plan.parameters import Adapter, active, lora, matrices, parameters, total

GPT3 = {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 12288, "n_layer": 96, "n_head": 96, "n_positions": 2048}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
LLAMA3 = {**LLAMA, "vocab_size": 128256, "intermediate_size": 14336, "num_key_value_heads": 8}
MIXTRAL = {**LLAMA3, "vocab_size": 32000, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
LLAMA13 = {
    **LLAMA,
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}


def test_gpt3_s_eight_categories() -> None:
    found = {x.name: x.value for x in matrices(shape_of({**GPT3, "tie_word_embeddings": False}))}
    assert found == {
        "embedding": 617_558_016,
        "key": 14_495_514_624,
        "query": 14_495_514_624,
        "value": 14_495_514_624,
        "output": 14_495_514_624,
        "up": 57_982_058_496,
        "down": 57_982_058_496,
        "unembedding": 617_558_016,
    }
    assert sum(found.values()) == 175_181_291_520
    attention = sum(found[n] for n in ("key", "query", "value", "output"))
    assert attention / 96 == 603_979_776  # one layer of 96 heads: what is comparable to the embedding
    assert attention / 96 / 96 == 4 * 12288 * 128 == 6_291_456  # one head alone
    assert attention / sum(found.values()) == pytest.approx(1 / 3, abs=0.01)


def test_published_sizes() -> None:
    assert total(shape_of(LLAMA)) == 6_738_415_616
    assert total(shape_of(LLAMA13)) == 13_015_864_320
    assert total(shape_of(LLAMA3)) == 8_030_261_248
    gpt2 = {**GPT3, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
    assert total(shape_of(gpt2)) == 124_439_808
    mixtral = shape_of(MIXTRAL)
    assert total(mixtral) == 46_702_792_704 and active(mixtral) == pytest.approx(12.9e9, rel=0.01)
    assert flops.multiplied(mixtral) < active(mixtral)


def test_weights_and_serving() -> None:
    assert 7e9 * memory.width("fp16") == 14e9 and 70e9 * memory.width("bf16") == 140e9
    assert rules.inference(13e9, 2) == pytest.approx(31.2e9) and rules.inference(70e9, 2) == pytest.approx(168e9)
    assert rules.inference_bits(70e9, 16) == rules.inference(70e9, 2)
    assert memory.width("nf4") * 8 == pytest.approx(4.127, abs=1e-3)
    found = memory.weights(shape_of(LLAMA), "nf4").total
    assert found is not None and found.value == pytest.approx(3.87e9, rel=0.01)


def test_training_memory() -> None:
    assert rules.gradients_and_states(13e9, 2) == 78e9
    lines = {x.name: x.value for x in memory.trained(13_000_000_000, "bf16", "adamw")}
    assert lines["gradients"] + lines["adamw states"] == 78e9
    assert sum(x.value for x in memory.trained(10, "mixed", "adamw")) == 10 * (4 + 8 + 4)
    assert sum(x.value for x in memory.trained(10, "fp32", "muon", adamw=4)) == 10 * 4 + (10 + 4) * 4


def test_keys_and_values() -> None:
    assert (
        memory.cache(shape_of(LLAMA13), 32, 2048).value
        == 2 * 32 * 2048 * 40 * 5120 * 2
        == pytest.approx(53.7e9, rel=1e-3)
    )
    assert memory.cache(shape_of(LLAMA13), 32, 2048, 4).value == pytest.approx(107.4e9, rel=1e-3)  # in float32
    assert memory.cache(shape_of(LLAMA3), 1, 1).value == 131_072  # Llama 3 8B, eight key heads
    assert memory.cache(shape_of(LLAMA3), 1, 64 << 10).value == 8 << 30


def test_flops_and_tokens() -> None:
    assert flops.chinchilla(3e9) == 60e9
    assert flops.six(405e9, 15.6e12) == pytest.approx(3.8e25, rel=0.01)
    assert flops.six(175e9, 300e9) == pytest.approx(3.14e23, rel=0.01)
    s = shape_of({**GPT3, "n_embd": 768, "n_layer": 12, "n_head": 12})
    assert flops.step(s, 1).value == pytest.approx(flops.six(total(s), 1), rel=0.03)  # no context to speak of
    once = flops.forward(s, 512.5).value
    assert flops.step(s, 1024).value == 3 * once
    assert flops.step(s, 1024, frozen=True, checkpointing=True).value == 3 * once


def test_machines() -> None:
    a100 = MACHINES["a100-40"]
    assert a100.ops_byte == pytest.approx(201, abs=1)
    assert machine.compute_over_memory(a100, 1) == pytest.approx(1 / 201, rel=0.01)
    assert machine.compute_over_memory(a100, 201) == pytest.approx(1, rel=0.01)
    assert machine.intensity(1, 4) == 0.25  # ReLU: one operation, two bytes read and two written
    assert machine.bytes_used(7e9, 2, 100) == 1400e9
    assert machine.mbu(7e9, 2, 100, 2.0e12) == 0.7
    assert machine.mfu(312e12 * 10 * 0.5, 10, 312e12) == 0.5
    assert machine.latency(0.2, 0.05, 100) == pytest.approx(5.2)


def test_small_rules() -> None:
    assert rules.bits_per_character(6, 2) == 3
    assert rules.bits_per_byte(3, 7) == pytest.approx(3.43, abs=0.005)
    assert rules.perplexity(3) == 8
    assert [rules.evaluation_samples(x) for x in (0.3, 0.1, 0.03, 0.01)] == [10, 100, 1000, 10_000]
    assert 100 < rules.evaluation_samples(0.05) < 1000 < rules.evaluation_samples(0.02) < 10_000
    falling = [rules.evaluation_samples(x / 1000) for x in range(1, 1001)]
    assert falling == sorted(falling, reverse=True)  # a smaller gap never needs fewer
    assert rules.compound(0.95, 10) == pytest.approx(0.599, abs=1e-3)


def test_lora_counts() -> None:
    gpt3 = shape_of({**GPT3, "tie_word_embeddings": False})
    found = lora(gpt3, Adapter(1, ("q_proj", "v_proj"))).total
    assert found is not None and found.value == 4_718_592
    assert found.value / 175e9 == pytest.approx(0.000027, rel=0.01)
    with pytest.raises(BadInput, match="gate_proj"):
        lora(gpt3, Adapter(1, ("gate_proj",)))


def test_a_chunk_of_logits_does_not_grow_with_the_batch() -> None:
    s = shape_of(LLAMA3)
    assert chunk(s, 1 << 20, 4, learns=True).value == chunk(s, 4096, 4, learns=True).value < 200e6
    assert chunk(s, 4096, 4, learns=False).value < 40e6
    assert chunk(s, 10, 4, learns=True).value == 10 * 128256 * 4


def test_what_is_not_a_model_says_so() -> None:
    with pytest.raises(BadInput, match="hidden_size"):
        shape_of({"model_type": "llama"})
    with pytest.raises(BadInput, match="wrong value"):
        shape_of({**LLAMA, "hidden_size": "wide"})
    assert parameters(shape_of(LLAMA)).to_dict()["total"]["value"] == 6_738_415_616
