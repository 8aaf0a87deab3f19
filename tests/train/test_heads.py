"""Heads on whole segments: logits and losses equal transformers', files open there, frozen bodies stay."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.data.assemble import Prepared
from idiolect.data.batch import TrainBatch
from idiolect.nn import Batch
from idiolect.train import TrainConfig, fit
from idiolect.train.config import OptimiserConfig
from idiolect.train.head import Head, head_config, segment_rows
from idiolect.train.headed import HeadedModel, load
from idiolect.train.objectives import objectives
from tests.models import tiny
from tests.train.tiny import model as small

ROWS = [[5, 6, 7, 8, 9], [11, 12], [20, 21, 22, 23, 24, 25, 26]]


def labelled(rows: list[list[int]], labels: list[Any]) -> TrainBatch:
    batch = Batch.pack(rows)
    return TrainBatch(batch, torch.zeros(len(batch), dtype=torch.int64), torch.zeros(len(batch)), torch.tensor(labels))


def theirs(kind: str, folder: Path, labels: int) -> Any:
    """A small random transformers model with a head, in a folder."""
    transformers = pytest.importorskip("transformers")
    base = {"gpt2": tiny.GPT2, "bert": tiny.BERT, "roberta": tiny.BERT}.get(kind, tiny.LLAMA)
    config = transformers.AutoConfig.for_model(
        kind, **{**base, "pad_token_id": 1}, num_labels=labels, problem_type="regression" if labels == 1 else None
    )
    torch.manual_seed(5)
    found = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    found.eval().save_pretrained(folder)
    tiny.write_tokenizer(folder)
    return found


def padded(model: Any, rows: list[list[int]], labels: Tensor | None = None) -> Any:
    width = max(map(len, rows))
    ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return model(input_ids=ids, attention_mask=mask, labels=labels)


@pytest.mark.parity
@pytest.mark.parametrize(("kind", "labels"), [("llama", 3), ("qwen2", 1), ("gpt2", 2), ("bert", 3), ("roberta", 2)])
def test_logits_loss_and_gradients_equal_transformers(kind: str, labels: int, tmp_path: Path) -> None:
    rival = theirs(kind, tmp_path / "theirs", labels)
    ours = load(tmp_path / "theirs")
    wanted = torch.tensor([0.3, -1.0, 2.0]) if labels == 1 else torch.tensor([0, labels - 1, 1])
    answer = padded(rival, ROWS, wanted)
    with torch.no_grad():
        torch.testing.assert_close(ours(Batch.pack(ROWS)), answer.logits, rtol=1e-4, atol=1e-5)
    name = "regress" if labels == 1 else "classify"
    objective = type(_built(name, ours))(ours.head)
    ours.train().requires_grad_(True)
    loss = objective(ours.model, labelled(ROWS, wanted.tolist()))
    assert loss.weight == 3
    torch.testing.assert_close(loss.sum / 3, answer.loss, rtol=1e-4, atol=1e-6)
    (loss.sum / 3).backward()
    answer.loss.backward()
    their_head = rival.score if hasattr(rival, "score") else getattr(rival.classifier, "out_proj", rival.classifier)
    torch.testing.assert_close(ours.head.out.weight.grad, their_head.weight.grad, rtol=1e-3, atol=1e-5)
    embedding = rival.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.model.embed.weight.grad, embedding, rtol=1e-3, atol=1e-5)


def _built(name: str, ours: HeadedModel) -> Any:
    from tests.data.parts import tokens

    made = tokens([3, 4], [0.5, 1.0] if name == "regress" else ["x", "y"])
    data = Prepared(None, None, [made], made.classes)  # type: ignore[arg-type]
    return objectives.get(name)(ours.model, {}, data)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "roberta"])
def test_what_is_saved_opens_in_transformers_and_here(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs(kind, tmp_path / "body", 2)
    body = load(tmp_path / "body").model
    head = Head(head_config(body, "classify", ("ham", "spam", "eggs")), seed=3, std=0.3)
    made = HeadedModel(body, head).eval()
    made.save(tmp_path / "saved")
    with torch.no_grad():
        wanted = made(Batch.pack(ROWS))
        again = load(tmp_path / "saved")
        torch.testing.assert_close(again(Batch.pack(ROWS)), wanted, rtol=0, atol=0)
        rival, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "saved", output_loading_info=True
        )
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        rival.config.pad_token_id = rival.config.get_text_config().pad_token_id = 1
        torch.testing.assert_close(padded(rival.eval(), ROWS).logits, wanted, rtol=1e-4, atol=1e-5)
    assert rival.config.id2label == {0: "ham", 1: "spam", 2: "eggs"}
    assert again.head.config.classes == ("ham", "spam", "eggs")
    assert len(again.classify(["w5 w6", "w7"])) == 2


@pytest.mark.parametrize("pool", ["last", "first", "mean"])
def test_packed_is_separate(pool: Any) -> None:
    body = small("llama").eval()
    head = Head(head_config(body, "classify", ("a", "b"), pool=pool), std=0.5)
    with torch.no_grad():
        together = head(body.hidden(Batch.pack(ROWS)), Batch.pack(ROWS))
        alone = torch.cat([head(body.hidden(Batch.pack([row])), Batch.pack([row])) for row in ROWS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    h = torch.arange(14.0)[:, None]
    expected = {"last": [4, 6, 13], "first": [0, 5, 7], "mean": [2, 5.5, 10]}[pool]
    assert segment_rows(h, Batch.pack(ROWS), pool)[:, 0].tolist() == expected


class Repeating:
    """One batch, again and again."""

    steps_per_epoch = 1

    def __init__(self, batch: TrainBatch) -> None:
        self.batch = batch

    def step(self, step: int) -> list[TrainBatch]:
        return [self.batch]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_head_learns_and_a_frozen_body_stays(frozen: bool) -> None:
    from tests.data.parts import tokens

    body = small("untied")
    made = tokens([3, 4], ["ham", "spam"])
    data = Prepared(None, None, [made], made.classes)  # type: ignore[arg-type]
    body.requires_grad_(True)
    before = {name: p.detach().clone() for name, p in body.named_parameters()}
    objective = objectives.get("classify")(body, {"frozen": frozen}, data)
    rows, labels = [[i, i + 1, 40 if i % 2 else 41] for i in range(2, 14)], [i % 2 for i in range(2, 14)]
    config = TrainConfig(steps=60, optimiser=OptimiserConfig(lr=3e-2 if frozen else 3e-3))
    outcome = fit(body, objective, Repeating(labelled(rows, labels)), config)
    assert outcome.train["accuracy"] == 1
    assert outcome.train["precision"] == outcome.train["recall"] == 1
    moved = {name for name, p in body.named_parameters() if not torch.equal(p, before[name])}
    assert ("layers.0.mlp.down.weight" in moved) != frozen
    assert "head.weight" not in moved, "the next-token matrix has nothing to do with it"


def test_precision_and_recall_are_of_the_second_class() -> None:
    from idiolect.train.objectives.classify import Classify

    body = small("llama")
    head = Head(head_config(body, "classify", ("ham", "spam")))
    torch.nn.init.zeros_(head.out.weight)
    with torch.no_grad():
        loss = Classify(head)(body, labelled(ROWS, [0, 0, 1]))  # every score 0: all are the first class
    assert loss.metrics["precision"] == (0.0, 0.0)
    assert loss.metrics["recall"] == (0.0, 1.0)
    assert float(loss.metrics["accuracy"][0]) == 2
    assert float(loss.sum) == pytest.approx(3 * 0.693147, rel=1e-5)


def test_a_head_alone_is_saved_and_read(tmp_path: Path) -> None:
    head = Head(head_config(small("llama"), "classify", ("a", "b"), pool="mean"), std=0.5)
    head.save(tmp_path / "head")
    again = Head.load(tmp_path / "head")
    assert again.config == head.config
    assert torch.equal(again.out.weight, head.out.weight)
    with pytest.raises(NotFound, match="holds no head"):
        Head.load(tmp_path)
    file = tmp_path / "head" / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match="damaged"):
        Head.load(tmp_path / "head")


def test_a_full_disk_keeps_the_old_head(tmp_path: Path) -> None:
    head = Head(head_config(small("llama"), "regress"))
    head.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        with pytest.raises(Unavailable, match="no room left"):
            head.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_mistakes_are_said(tmp_path: Path) -> None:
    body = small("llama")
    build = objectives.get("classify")
    with pytest.raises(BadInput, match="needs labelled data"):
        build(body, {}, None)
    with pytest.raises(BadInput, match="two classes, there are 1"):
        head_config(body, "classify", ("only",))
    with pytest.raises(BadInput, match="unknown option 'objective.forzen'"):
        build(body, {"forzen": True}, None)
    with pytest.raises(BadInput, match="regression needs"):
        objectives.get("regress")(body, {}, None)
    with pytest.raises(BadInput, match="no llama with a head on the mean row"):
        HeadedModel(body, Head(head_config(body, "classify", ("a", "b"), pool="mean"))).save(tmp_path / "x")
