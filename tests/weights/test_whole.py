"""Whole models, quantised in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models, weights
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput
from idiolect.engine import Engine, EngineConfig
from idiolect.nn import Batch, Linear
from tests.models import tiny

IDS = [5, 17, 80, 2, 33, 64]


def make(name: str, folder: Path, **options: Any) -> Any:
    tiny.make(name, folder)
    return models.load(folder, progress=False, **{"dtype": "float32", **options})


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(Batch.pack([IDS]))


@pytest.mark.parametrize("fmt", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["llama", "llama-tied-mha", "qwen2", "gpt2"])
def test_a_quantised_model_is_the_model_of_its_floats(name: str, fmt: str, tmp_path: Path) -> None:
    model = make(name, tmp_path / "m")
    head, norm = model.head.dense().clone(), model.norm.weight.clone()
    report = weights.quantise_model(model, fmt)
    assert report.matrices == 3 * 4 and report.after < report.before and "embed" in report.kept
    assert torch.equal(model.head.dense(), head) and torch.equal(model.norm.weight, norm)
    got = logits(model)
    models.save(model, tmp_path / "saved")  # saving makes floats of it
    again = models.load(tmp_path / "saved", dtype="float32", progress=False)
    torch.testing.assert_close(logits(again), got, atol=2e-4, rtol=2e-4)
    weights.dequantise_model(model)
    assert all(m.stored is None for m in model.modules() if isinstance(m, Linear))
    torch.testing.assert_close(logits(model), got, atol=2e-4, rtol=2e-4)


def test_state_dicts_go_between_quantised_models(tmp_path: Path) -> None:
    first, second = make("llama", tmp_path / "m"), make("llama", tmp_path / "m")
    weights.quantise_model(first, "nf4")
    for p in second.parameters():
        p.data.normal_()
    weights.quantise_model(second, "nf4")
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(logits(second), logits(first))  # one head is in the CPU's own layout


def test_skip_by_our_names_and_by_hugging_face_s(tmp_path: Path) -> None:
    model = make("llama-tied-mha", tmp_path / "m")
    report = weights.quantise_model(model, "int8", skip=("o_proj", "layers.2", "gate_up"))
    assert "embed" not in report.kept and model.embed.stored is not None  # the tied table, and so the head
    kept = {n for n, why in report.kept.items() if why}
    assert kept == {f"layers.{i}.{m}" for i in (0, 1) for m in ("attention.out", "mlp.gate_up")} | {
        f"layers.2.{m}" for m in ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    }
    assert logits(model).isfinite().all()
    with pytest.raises(BadInput, match="quantised already"):
        weights.quantise_model(model, "nf4")


def test_a_matrix_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"layers\.0\.mlp\.down: rows of 48 values"):
        weights.quantise_model(make("llama", tmp_path / "m"), "q8_0")


def test_the_real_model_stays_itself(smol: Any) -> None:
    """From the file's own rows, which NF4 rounds once more; the engine serves the result as it is."""
    ids = smol.tokenizer.encode("The capital of France is Paris, and the capital of Italy is Rome.")
    model = models.load(models.EMBEDDED_LM, dtype="stored", progress=False)
    report = weights.quantise_model(model, "nf4")
    assert report.weights == 106_168_320 and report.after < 170e6
    with torch.no_grad():
        want, got = (m(Batch.pack([ids])).log_softmax(-1) for m in (smol, model))
    assert 0 < float((want.exp() * (want - got)).sum(-1).mean()) < 1  # nats a token; uniform noise gives 8
    engine = Engine(model, EngineConfig(memory_bytes=64 << 20))
    (result,) = engine.generate([ids[:5]], Sampling(temperature=0, max_tokens=1))
    assert result.text.strip() == "Paris"
    assert model.layers[0].mlp.down.stored is not None  # serving did not turn it into floats
