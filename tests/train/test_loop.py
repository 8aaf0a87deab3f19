"""The loop's laws on small real models."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect.core.errors import BadInput
from idiolect.data.shared import share
from idiolect.train.checkpoint import Store
from idiolect.train.config import OptimiserConfig, Precision, ScheduleConfig, TrainConfig
from idiolect.train.diverged import Diverged
from idiolect.train.loop import Trainer, evaluate
from idiolect.train.objectives.lm import LM, LMConfig, sharing
from idiolect.train.watch import Record
from tests.train import tiny

CONFIG = TrainConfig(steps=6, optimiser=OptimiserConfig(lr=1e-2, decay=0.1), schedule=ScheduleConfig(warmup=2))


def trainer(config: TrainConfig = CONFIG, micro: int = 4, name: str = "llama", **options: Any) -> Trainer:
    options.setdefault("source", tiny.Memory(tiny.examples(32), 4, micro))
    return Trainer(tiny.model(name), options.pop("objective", LM()), config=config, **options)


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.weights.masters.items()}


@pytest.mark.parametrize("name", ["llama", "gpt2", "untied"])
def test_accumulated_is_one_batch(name: str) -> None:
    config = replace(CONFIG, optimiser=OptimiserConfig(name="sgd", lr=0.1))  # Adam divides rounding by rounding
    runs = [trainer(config, micro, name) for micro in (4, 3, 1)]
    for run in runs:
        run.fit()
    first = weights(runs[0])
    for run in runs[1:]:
        for key, value in weights(run).items():
            torch.testing.assert_close(value, first[key], rtol=1e-4, atol=1e-5, msg=key)


def test_accumulation_counts_tokens_not_micro_batches() -> None:
    """A mean of means would weigh the short example's tokens more: the sum over the step's weight does not."""
    rows = [[1, 2, 3], [*range(4, 40)]]
    model, objective = tiny.model(), LM()
    parts = [objective(model, tiny.pack([row])) for row in rows]
    together = objective(model, tiny.pack(rows))
    mean = sum(p.sum.item() for p in parts) / sum(p.weight for p in parts)
    assert mean == pytest.approx(together.sum.item() / together.weight, rel=1e-5)
    assert mean != pytest.approx(sum(p.sum.item() / p.weight for p in parts) / 2, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "mixed"])
@pytest.mark.parametrize("optimiser", ["adamw", "muon", "sgd"])
def test_resumed_is_never_stopped(tmp_path: Path, precision: Precision, optimiser: Any) -> None:
    config = replace(CONFIG, precision=precision, optimiser=OptimiserConfig(name=optimiser, lr=1e-2, decay=0.1))
    whole = trainer(config)
    whole.fit()
    first = trainer(config, store=Store(tmp_path))
    for _ in range(3):  # stops in the middle of an epoch of eight steps
        first.step()
    first.save("last")
    second = trainer(config, store=Store(tmp_path))
    second.fit(resume=True)
    assert second.progress.step == 6
    assert second.source.asked == [3, 4, 5]  # type: ignore[attr-defined]
    for key, value in weights(second).items():
        assert torch.equal(value, whole.weights.masters[key]), key
    for (name, own), other in zip(second.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(own, other), name


def test_dropout_repeats_on_resume(tmp_path: Path) -> None:
    """What draws random numbers in a step draws the same ones after a resume."""

    class Noisy(LM):
        def __call__(self, model: Any, batch: Any) -> Any:
            batch.weights = torch.nn.functional.dropout(batch.weights, 0.3)
            return super().__call__(model, batch)

    whole = trainer(objective=Noisy())
    whole.fit()
    first = trainer(objective=Noisy(), store=Store(tmp_path))
    first.step()
    first.save("last")
    torch.randn(7)
    second = trainer(objective=Noisy(), store=Store(tmp_path))
    second.fit(resume=True)
    for key, value in weights(second).items():
        assert torch.equal(value, whole.weights.masters[key]), key


def test_mixed_keeps_float32_masters() -> None:
    """Updates too small for bfloat16 are not lost in the masters."""
    config = replace(CONFIG, precision="mixed", optimiser=OptimiserConfig(name="sgd", lr=1e-5, momentum=0.0))
    run = trainer(config)
    before = weights(run)
    run.fit()
    assert all(p.dtype == torch.bfloat16 for p in run.model.parameters())
    moved = [not torch.equal(run.weights.masters[k], v) for k, v in before.items()]
    rounded = [not torch.equal(run.weights.masters[k].bfloat16(), v.bfloat16()) for k, v in before.items()]
    assert all(moved)
    assert sum(rounded) < len(rounded)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_recomputing_layers_changes_nothing(name: str) -> None:
    plain, saving = trainer(name=name), trainer(replace(CONFIG, checkpointing=True), name=name)
    plain.fit()
    saving.fit()
    for key, value in weights(saving).items():
        assert torch.equal(value, plain.weights.masters[key]), key
    assert "forward" not in saving.model.layers[0].__dict__  # type: ignore[operator, index, union-attr]


def test_clipping_bounds_the_update() -> None:
    config = replace(CONFIG, clip=1e-3, optimiser=OptimiserConfig(name="sgd", lr=1.0, momentum=0.0), steps=1)
    run = trainer(replace(config, schedule=ScheduleConfig("constant")))
    before = weights(run)
    run.fit()
    moved = torch.stack([(run.weights.masters[k] - v).norm() for k, v in before.items()]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_packed_is_separate() -> None:
    for name in ("llama", "gpt2"):
        rows, model, objective = tiny.examples(5), tiny.model(name), LM()
        packed = objective(model, tiny.pack(rows, masked=2))
        packed.sum.backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        total = 0.0
        for row in rows:
            loss = objective(model, tiny.pack([row], masked=2))
            loss.sum.backward()
            total += float(loss.sum)
        assert float(packed.sum) == pytest.approx(total, rel=1e-5)
        for n, p in model.named_parameters():
            torch.testing.assert_close(p.grad, grads[n], rtol=1e-4, atol=1e-5, msg=n)


@pytest.mark.parametrize("longest", [20, 100])  # padded entries; one branch after the other
@pytest.mark.parametrize("name", ["llama", "gpt2", "dynamic"])
def test_beginnings_that_examples_share_change_nothing(name: str, longest: int) -> None:
    template = [7, 3, 9, 4, 11, 2] * (longest // 20)
    rows = [[*template, *row] for row in tiny.examples(5, shortest=longest // 2, longest=longest)]
    model, objective = tiny.model(name), LM()
    together = tiny.pack(rows, masked=len(template) + 2)
    assert sharing(model, together) == (name != "dynamic" or longest < 64)
    shared = share(together).batch
    assert shared.tree is not None
    assert len(shared) == len(together.batch) - 4 * len(template)
    loss = objective(model, together)
    assert loss.weight == together.counted
    loss.sum.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = 0.0
    for row in rows:
        alone = objective(model, tiny.pack([row], masked=len(template) + 2))
        alone.sum.backward()
        total += alone.sum.item()
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    for n, p in model.named_parameters():
        torch.testing.assert_close(p.grad, grads[n], rtol=1e-4, atol=1e-5, msg=n)
    with torch.no_grad():
        assert objective(model, together).sum.item() == pytest.approx(total, rel=1e-5)


def test_a_step_counts_every_token_of_what_is_shared() -> None:
    rows = [[1, 2, 3, 4, 5 + i, 6 + i] for i in range(4)]
    run = trainer(source=tiny.Memory(rows, 4, 4, masked=4))
    assert run.step().figures["tokens"] == 24


def test_masked_rows_count_nothing_and_prompt_weights_count() -> None:
    model, objective = tiny.model(), LM()
    batch = tiny.pack([[5, 6, 7, 8, 9]])
    rows = objective(model, batch)
    batch.weights = torch.tensor([0.1, 0.1, 1.0, 1.0, 0.0])
    loss = objective(model, batch)
    logits = model(batch.batch).log_softmax(-1)
    nll = -logits[torch.arange(4), torch.tensor([6, 7, 8, 9])]
    assert float(loss.sum) == pytest.approx(float((nll * batch.weights[:4]).sum()), rel=1e-5)
    assert loss.weight == pytest.approx(2.2)
    assert float(rows.sum) == pytest.approx(float(nll.sum()), rel=1e-5)


def test_nan_stops_before_the_step_and_names_the_examples(tmp_path: Path) -> None:
    rows = tiny.examples(32)
    source = tiny.Memory(rows, 4, 2)
    run = trainer(source=source, store=Store(tmp_path))
    bad = source.order(3)[2]  # the first segment of the second micro-batch of step 3

    class Broken(LM):
        def __call__(self, model: Any, batch: Any) -> Any:
            loss = super().__call__(model, batch)
            if any(rows[bad] == s.tolist() for s in batch.batch.ids.split([*batch.batch.cu.diff().tolist()])):
                loss.sum = loss.sum * float("nan")
            return loss

    run.objective = Broken()
    run.config = replace(run.config, checkpoint_every=1)
    with pytest.raises(Diverged, match="step 4") as error:
        run.fit()
    assert "micro-batch 1, segments 0" in error.value.message
    assert f"line {bad + 1}" in error.value.message
    assert "last.safetensors" in error.value.message
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    _, progress = Store(tmp_path).load("last", {})
    assert progress.step == 3


def test_validation_keeps_the_best(tmp_path: Path) -> None:
    seen: list[Record] = []
    held = tiny.Memory(tiny.examples(8, seed=5))
    config = replace(CONFIG, steps=8, validate_every=2, optimiser=OptimiserConfig(lr=3e-2))
    run = trainer(config, validation=held, watch=seen.append, store=Store(tmp_path))
    outcome = run.fit()
    losses = {r.step: r.figures["loss"] for r in seen if r.kind == "validation"}
    assert list(losses) == [2, 4, 6, 8]
    assert outcome.progress.best == min(losses.values())
    run.restore("best")
    assert evaluate(run.model, run.objective, held)["loss"] == pytest.approx(min(losses.values()), rel=1e-6)


def test_metrics_are_means_over_what_counts() -> None:
    model = tiny.model()
    figures = evaluate(model, LM(), tiny.Memory(tiny.examples(8), 4, 3))
    assert figures["ppl"] == pytest.approx(math.exp(figures["nll"]))
    assert figures["loss"] == pytest.approx(figures["nll"])
    smooth = evaluate(model, LM(LMConfig(label_smoothing=0.1)), tiny.Memory(tiny.examples(8), 4, 3))
    assert smooth["nll"] == pytest.approx(figures["nll"], rel=1e-5)
    assert smooth["loss"] != pytest.approx(figures["loss"], rel=1e-4)


def test_a_frozen_model_is_refused() -> None:
    model = tiny.model().requires_grad_(False)
    with pytest.raises(BadInput, match="nothing is trainable"):
        Trainer(model, LM(), tiny.Memory(tiny.examples(8)), CONFIG)


def test_epochs_are_steps() -> None:
    assert trainer(replace(CONFIG, steps=None, epochs=1.5)).total == 12
    assert trainer(replace(CONFIG, steps=None)).total == 8
    with pytest.raises(BadInput, match="both steps and epochs"):
        TrainConfig(steps=3, epochs=1)
