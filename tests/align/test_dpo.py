"""DPO: the loss and gradients of the paper's formula and of TRL; the reference computed once is the reference."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.align import DPO, DPOConfig, logprobs, preference_loss, remember
from idiolect.align.pairs import pairs
from idiolect.align.reference import weights_hash
from idiolect.core.errors import BadInput
from idiolect.data.source import Batching, PackedSource, collate
from idiolect.data.tokens import Tokens
from idiolect.models.base import CausalModel
from idiolect.nn import Batch
from idiolect.train import TrainConfig, fit
from idiolect.train.config import OptimiserConfig
from idiolect.train.objectives import objectives
from idiolect.tune import TuneConfig, attach
from tests.align.parts import preferences, prepared
from tests.train.tiny import model as small


def moved(model: CausalModel, seed: int = 9, scale: float = 0.05) -> CausalModel:
    """A copy that has learned something."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return other.requires_grad_(True)


def plainly(model: CausalModel, tokens: Tokens, item: int) -> list[Tensor]:
    """log p of each response, one segment at a time, from whole logits."""
    found = []
    for ids, counted in tokens.segments(item):
        row = torch.tensor(ids.astype(np.int64))
        log_p = model(Batch.pack([row])).float().log_softmax(-1)
        each = log_p[:-1].gather(1, row[1:, None]).squeeze(1)
        found.append((each * torch.tensor(counted[1:].astype(np.float32))).sum())
    return found


@pytest.mark.parametrize("name", ["llama", "gpt2", "untied"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_gradients_are_the_formula(name: str, smoothing: float) -> None:
    reference = small(name)
    tokens = preferences(6)
    remember(reference, tokens, cache=False)
    policy, other = moved(reference), moved(reference)
    batch = collate(tokens, np.arange(6))
    loss = DPO(DPOConfig(beta=0.3, label_smoothing=smoothing))(policy, batch)
    loss.sum.backward()

    total = torch.zeros(())
    for item in range(6):
        with torch.no_grad():
            r = plainly(reference, tokens, item)
        p = plainly(other, tokens, item)
        d = 0.3 * ((p[0] - r[0]) - (p[1] - r[1]))
        total = total - (1 - smoothing) * F.logsigmoid(d) - smoothing * F.logsigmoid(-d)
    total.backward()
    assert loss.weight == 6
    torch.testing.assert_close(loss.sum, total, rtol=1e-5, atol=1e-5)
    for (key, ours), theirs in zip(policy.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=2e-6, msg=key)


def test_more_than_two_responses_are_compared_in_pairs_that_count_as_one() -> None:
    reference = small()
    tokens = preferences(3, (3, 2))
    remember(reference, tokens, cache=False)
    policy = moved(reference)
    with torch.no_grad():
        loss = DPO(DPOConfig(beta=0.5))(policy, collate(tokens, np.arange(3)))
        total = 0.0
        for item in range(3):
            gained = [float(p - r) for p, r in zip(plainly(policy, tokens, item), plainly(reference, tokens, item))]
            n = len(gained)
            apart = [0.5 * (gained[i] - gained[j]) for i in range(n) for j in range(i + 1, n)]
            total += sum(math.log1p(math.exp(-d)) for d in apart) / len(apart)
    assert loss.weight == 3
    assert float(loss.sum) == pytest.approx(total, rel=1e-5)


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 7), st.integers(5, 60))
def test_packed_is_separate(count: int, room: int) -> None:
    reference = small()
    tokens = preferences(count, (2, 3))
    remember(reference, tokens, cache=False, room=room)
    whole = preferences(count, (2, 3))
    remember(reference, whole, cache=False)
    np.testing.assert_allclose(tokens.references, whole.references, rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    policy = moved(reference)
    with torch.no_grad():
        one = DPO()(policy, collate(tokens, np.arange(count)))
        parts = PackedSource(tokens, batching=Batching(examples=count, micro_tokens=room)).step(0)
        many = [DPO()(policy, part) for part in parts]
    assert sum(p.weight for p in many) == one.weight
    torch.testing.assert_close(torch.stack([p.sum for p in many]).sum(), one.sum, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "ia3", "prefix"])
def test_reference_once_is_reference_each_step(method: str) -> None:
    """The reference of a model with an adapter is the model without it, whatever the adapter has become."""
    bare = small()
    policy = copy.deepcopy(bare)
    mounted = attach(policy, TuneConfig(method))
    tokens = preferences(8)
    objective = objectives.get("dpo")(policy, {"cache": False}, prepared(tokens))
    if method == "lora":  # begins as the base: nothing is preferred yet
        with torch.no_grad():
            loss = objective(policy, collate(tokens, np.arange(8)))
        assert float(loss.sum) / loss.weight == pytest.approx(math.log(2), rel=1e-6)
        assert loss.metrics["margin"][0] == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        for parameter in mounted.parameters():
            parameter.add_(0.1)
    once = collate(tokens, np.arange(8))
    each = collate(tokens, np.arange(8))
    each.reference = logprobs(bare, each)
    torch.testing.assert_close(objective(policy, once).sum, objective(policy, each).sum, rtol=1e-5, atol=1e-5)
    assert abs(float(objective(policy, once).metrics["margin"][0])) > 1e-3


def test_the_reference_is_kept_by_weights_and_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idiolect.align import reference as module

    calls: list[int] = []
    whole = module.compute
    monkeypatch.setattr(module, "compute", lambda *a, **k: calls.append(1) or whole(*a, **k))
    model = small()
    first = preferences(5)
    remember(model, first, cache=tmp_path)
    again = preferences(5)
    remember(small(), again, cache=tmp_path)
    assert len(calls) == 1
    assert np.array_equal(first.references, again.references)  # type: ignore[arg-type]
    remember(moved(model), preferences(5), cache=tmp_path)
    remember(model, preferences(5, seed=1), cache=tmp_path)
    assert len(calls) == 3
    for file in tmp_path.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-3])
    harmed = preferences(5)
    remember(model, harmed, cache=tmp_path)
    assert len(calls) == 4
    assert np.array_equal(harmed.references, first.references)  # type: ignore[arg-type]
    assert weights_hash(model) == weights_hash(small())
    policy = small()
    attach(policy, TuneConfig("lora"))
    assert weights_hash(policy) == weights_hash(model), "the adapter is not part of the reference"


def test_training_widens_the_margin() -> None:
    policy = small()
    attach(policy, TuneConfig("lora", ("all",), rank=8))
    tokens = preferences(16)
    data = prepared(tokens, examples=8)
    objective = objectives.get("dpo")(policy, {"beta": 0.2, "cache": False}, data)
    outcome = fit(policy, objective, data.train, TrainConfig(steps=40, optimiser=OptimiserConfig(lr=1e-2)))
    assert outcome.train["accuracy"] == 1
    assert outcome.train["margin"] > 1
    assert outcome.train["loss"] < 0.4


@pytest.mark.parity
def test_loss_and_gradients_equal_trl(tmp_path: Path) -> None:
    """TRL's trainer, its own collator and loss, on the same tokens."""
    trl = pytest.importorskip("trl")
    import datasets
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from idiolect import models
    from tests.models import tiny

    tiny.make("llama", tmp_path / "m")
    tokens = preferences(6)
    reference = models.load(tmp_path / "m", dtype="float32", packed=False)
    remember(reference, tokens, cache=False)
    policy = models.load(tmp_path / "m", dtype="float32", packed=False)
    rival = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    with torch.no_grad():
        change = torch.randn(rival.lm_head.weight.shape, generator=torch.Generator().manual_seed(1)) * 0.1
        rival.lm_head.weight += change
        policy.head.weight += change
    words = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "m" / "tokenizer.json"), eos_token="</s>")
    args = trl.DPOConfig(
        str(tmp_path / "out"), beta=0.3, use_cpu=True, report_to=[], bf16=False, gradient_checkpointing=False
    )
    data = datasets.Dataset.from_list([{"prompt": "w5", "chosen": "w6", "rejected": "w7"}])
    trainer = trl.DPOTrainer(
        rival,
        ref_model=AutoModelForCausalLM.from_pretrained(tmp_path / "m"),
        args=args,
        train_dataset=data,
        processing_class=words,
    )
    examples = []
    for item in range(6):
        (better, counted), (worse, _) = tokens.segments(item)
        n = int((counted == 0).sum())
        examples.append(
            {"prompt_ids": better[:n].tolist(), "chosen_ids": better[n:].tolist(), "rejected_ids": worse[n:].tolist()}
        )
    theirs = trainer.compute_loss(rival, trainer.data_collator(examples))
    policy.requires_grad_(True)
    ours = DPO(DPOConfig(beta=0.3))(policy, collate(tokens, np.arange(6)))
    torch.testing.assert_close(ours.sum / ours.weight, theirs, rtol=1e-4, atol=1e-6)
    (ours.sum / ours.weight).backward()
    theirs.backward()
    for mine, other in (
        (policy.head.weight, rival.lm_head.weight),
        (policy.embed.weight, rival.get_input_embeddings().weight),
    ):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_mistakes_are_said() -> None:
    build = objectives.get("dpo")
    with pytest.raises(BadInput, match="dpo needs preferences"):
        build(small(), {}, None)
    with pytest.raises(BadInput, match="unknown option 'objective.betta'"):
        build(small(), {"betta": 1.0}, None)
    with pytest.raises(BadInput, match="beta is 0"):
        DPOConfig(beta=0)
    batch = collate(preferences(2), np.arange(2))
    with pytest.raises(BadInput, match="no reference"):
        DPO()(small(), batch)
    batch.labels = torch.tensor([1, 0, 1, 0])
    with pytest.raises(ValueError, match="rank"):
        pairs(batch)
    assert float(preference_loss(torch.tensor(0.0), 0.1)) == pytest.approx(math.log(2))
