"""Reward models: the pairwise loss of the paper and of TRL; saved as transformers has them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from idiolect.align import Reward, RewardConfig
from idiolect.core.errors import BadInput
from idiolect.data.source import collate
from idiolect.nn import Batch
from idiolect.train import TrainConfig, fit
from idiolect.train.config import OptimiserConfig
from idiolect.train.head import Head, head_config
from idiolect.train.headed import HeadedModel, load
from idiolect.train.objectives import objectives
from tests.align.parts import preferences, prepared
from tests.train.tiny import model as small


def test_the_loss_is_the_formula_for_any_number_of_responses() -> None:
    body = small()
    head = Head(head_config(body, "reward"), std=1.0)
    tokens = preferences(4, (2, 4, 3))
    options = RewardConfig(margin=0.25, center=0.1)
    with torch.no_grad():
        loss = Reward(head, options)(body, collate(tokens, np.arange(4)))
        total, right = 0.0, 0.0
        for item in range(4):
            rows = [torch.tensor(ids.astype(np.int64)) for ids, _ in tokens.segments(item)]
            r = [float(head(body.hidden(Batch.pack([x])), Batch.pack([x]))) for x in rows]
            found = [(r[i], r[j]) for i in range(len(r)) for j in range(i + 1, len(r))]
            total += sum(math.log1p(math.exp(-(a - b - 0.25))) + 0.1 * (a + b) ** 2 for a, b in found) / len(found)
            right += sum(a > b for a, b in found) / len(found)
    assert loss.weight == 4
    assert float(loss.sum) == pytest.approx(total, rel=1e-4)
    assert float(loss.metrics["accuracy"][0]) == pytest.approx(right)


def test_a_reward_model_learns_an_order_and_is_saved(tmp_path: Path) -> None:
    body = small()
    body.raw["pad_token_id"] = 0
    body.requires_grad_(True)
    data = prepared(preferences(12), examples=6)
    objective = objectives.get("reward")(body, {}, data)
    outcome = fit(body, objective, data.train, TrainConfig(steps=60, optimiser=OptimiserConfig(lr=5e-3)))
    assert outcome.train["accuracy"] == 1
    assert outcome.train["loss"] < 0.1
    assert isinstance(objective, Reward)
    made = HeadedModel(body, objective.head)
    assert made.config()["architectures"] == ["LlamaForSequenceClassification"]
    assert made.config()["num_labels"] == 1


@pytest.mark.parity
def test_loss_and_gradients_equal_trl(tmp_path: Path) -> None:
    """TRL's own trainer and collator on a transformers model of the same weights."""
    trl = pytest.importorskip("trl")
    import datasets
    from transformers import PreTrainedTokenizerFast

    from tests.train.test_heads import theirs

    rival = theirs("llama", tmp_path / "m", 1)
    ours = load(tmp_path / "m")
    words = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "m" / "tokenizer.json"), eos_token="</s>", pad_token="<s>"
    )
    args = trl.RewardConfig(
        str(tmp_path / "out"),
        use_cpu=True,
        report_to=[],
        bf16=False,
        gradient_checkpointing=False,
        center_rewards_coefficient=0.01,
    )
    data = datasets.Dataset.from_list([{"prompt": "w5", "chosen": "w5 w6", "rejected": "w5 w7"}])
    trainer = trl.RewardTrainer(rival, args=args, train_dataset=data, processing_class=words)
    tokens = preferences(5)
    tokens.ids = tokens.ids + (tokens.ids < 3) * 3  # no padding or control tokens among them
    pairs = [[ids.tolist() for ids, _ in tokens.segments(i)] for i in range(5)]
    inputs = trainer.data_collator([{"chosen_ids": a, "rejected_ids": b} for a, b in pairs])
    rival.eval()  # no dropout
    answer = trainer.compute_loss(rival, inputs)
    ours.requires_grad_(True)
    found = Reward(ours.head, RewardConfig(center=0.01))(ours.model, collate(tokens, np.arange(5)))
    torch.testing.assert_close(found.sum / found.weight, answer, rtol=1e-4, atol=1e-6)
    (found.sum / found.weight).backward()
    answer.backward()
    torch.testing.assert_close(ours.head.out.weight.grad, rival.score.weight.grad, rtol=1e-3, atol=1e-6)
    embedding = rival.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.model.embed.weight.grad, embedding, rtol=1e-3, atol=1e-6)


def test_mistakes_are_said() -> None:
    with pytest.raises(BadInput, match="a reward model needs preferences"):
        objectives.get("reward")(small(), {}, None)
    with pytest.raises(BadInput, match="margin and center"):
        RewardConfig(margin=-1)
