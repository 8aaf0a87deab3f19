"""Loss and gradients are transformers', SFT's loss is TRL's, and log-probabilities are the engine's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models
from idiolect.models.names import split
from idiolect.train.objectives.lm import LM
from tests.models.tiny import make
from tests.train import tiny

ROWS = [[5, 9, 3, 70, 22, 6], [8, 8, 41], [90, 2, 17, 33, 12, 60, 61, 4, 7]]


def padded(rows: list[list[int]], masked: int) -> dict[str, torch.Tensor]:
    """As transformers has it: right padding, an attention mask, -100 where nothing counts."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    labels = torch.tensor([[-100] * masked + row[masked:] + [-100] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parity
@pytest.mark.parametrize("name", ["llama", "llama-tied-mha", "qwen2", "qwen3", "mistral-window", "gpt2"])
@pytest.mark.parametrize("masked", [1, 2])
def test_loss_and_gradients_are_transformers(name: str, masked: int, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    theirs: Any = make(name, tmp_path / "hf")
    ours = models.load(tmp_path / "hf", dtype="float32", packed=False)
    ours.requires_grad_(True).train()
    expected = theirs(**padded(ROWS, masked)).loss
    expected.backward()
    loss = LM()(ours, tiny.pack(ROWS, masked))
    (loss.sum / loss.weight).backward()
    assert loss.sum.item() / loss.weight == pytest.approx(expected.item(), rel=1e-4)
    wanted = {n: p.grad for n, p in theirs.named_parameters()}
    seen = 0
    for rule in ours.rules():
        owner, _, leaf = rule.name.rpartition(".")
        grad = getattr(ours.get_submodule(owner), leaf).grad
        for hf, value in split(grad, rule).items():
            other = wanted[hf]
            assert (value - other).norm() <= 1e-4 * other.norm() + 1e-7, hf
            seen += 1
    assert seen == len(wanted)


@pytest.mark.parity
def test_sft_loss_is_trls(tmp_path: Path) -> None:
    """TRL's own collator and loss, on prompts and completions, with the prompt masked."""
    pytest.importorskip("trl")
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    theirs: Any = make("llama", tmp_path / "hf")
    ours = models.load(tmp_path / "hf", dtype="float32", packed=False)
    collate = DataCollatorForLanguageModeling(pad_token_id=0)
    examples = [{"input_ids": row, "labels": [-100, -100, *row[2:]]} for row in ROWS]
    expected = theirs(**collate(examples)).loss
    loss = LM()(ours, tiny.pack(ROWS, masked=2))
    assert loss.sum.item() / loss.weight == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_training_log_probs_are_the_engines(name: str) -> None:
    from idiolect.engine import Engine, EngineConfig
    from idiolect.engine.sequence import Scored
    from tests.engine.tiny import Letters

    model = tiny.model(name).eval()
    model.tokenizer = Letters()  # type: ignore[assignment]
    rows = tiny.examples(6)
    with torch.no_grad():
        training = [-float(LM()(model, tiny.pack([row])).sum) for row in rows]
    engine = Engine(model, EngineConfig(memory_bytes=16 << 20, runner="torch"))
    scored = engine.score([Scored(tuple(row), 1) for row in rows])
    for ours, tokens in zip(training, scored, strict=True):
        assert sum(t.logprob for t in tokens) == pytest.approx(ours, rel=1e-5)
