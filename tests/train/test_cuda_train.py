"""The laws of training on a GPU: packed == separate, accumulated == one batch, resumed == never stopped, the fused
cross-entropy == the plain one, a merged adapter == the adapter, compiled == eager."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect import tune
from idiolect.nn import Batch, attend
from idiolect.train.checkpoint import Store
from idiolect.train.config import OptimiserConfig, ScheduleConfig, TrainConfig
from idiolect.train.loop import Trainer
from idiolect.train.objectives.lm import LM
from tests import gpu
from tests.train import tiny

pytestmark = pytest.mark.cuda
CONFIG = TrainConfig(steps=6, optimiser=OptimiserConfig(lr=1e-2, decay=0.1), schedule=ScheduleConfig(warmup=2))


def trainer(config: TrainConfig = CONFIG, micro: int = 4, name: str = "llama", **options: Any) -> Trainer:
    source = tiny.Memory(tiny.examples(32), 4, micro)
    return Trainer(tiny.model(name).to(gpu.cuda()), LM(), source, config, **options)


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.weights.masters.items()}


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(
    rows=st.integers(1, 9),
    vocabulary=st.sampled_from([5, 61, 5000, 40001]),
    smoothing=st.sampled_from([0.0, 0.1]),
    z=st.sampled_from([0.0, 1e-2]),
    dtype=st.sampled_from(gpu.DTYPES),
    gradient=st.booleans(),
)
def test_fused_cross_entropy(
    rows: int, vocabulary: int, smoothing: float, z: float, dtype: torch.dtype, gradient: bool
) -> None:
    device = gpu.kernels()
    from idiolect.cuda.cross_entropy import cross_entropy

    make = torch.Generator().manual_seed(rows)
    x = (torch.randn(rows, vocabulary, generator=make) * 4).to(dtype)
    targets = torch.randint(vocabulary, (rows,), generator=make)
    weigh = torch.rand(rows, generator=make)
    exact = x.double().requires_grad_()
    log_z = exact.logsumexp(1)
    nll = log_z - exact.gather(1, targets[:, None])[:, 0]
    whole = (1 - smoothing) * nll + smoothing * (log_z - exact.mean(1)) + z * log_z.square()
    want = (whole * weigh.double()).sum()
    want.backward()
    own = x.to(device).clone()
    got, hit, total = cross_entropy(own, targets.to(device), weigh.to(device), smoothing, z, gradient)
    torch.testing.assert_close(got.cpu(), nll.detach().float(), atol=1e-4, rtol=1e-4)
    assert hit.cpu().tolist() == (x.float().argmax(1) == targets).tolist()
    assert float(total) == pytest.approx(float(want), rel=1e-4, abs=1e-4)
    if gradient:
        bound = 1e-5 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(own.cpu().float(), exact.grad.float(), atol=bound, rtol=bound)  # type: ignore[union-attr]
    else:
        assert torch.equal(own.cpu(), x)


@settings(max_examples=gpu.EXAMPLES, deadline=None)
@given(
    shape=st.sampled_from([(4, 4, 16), (9, 3, 64), (8, 1, 24)]),
    lengths=st.lists(st.integers(1, 90), min_size=2, max_size=6),
    causal=st.booleans(),
    window=st.sampled_from([None, 7]),
)
def test_packed_attention_and_its_gradients(
    shape: tuple[int, int, int], lengths: list[int], causal: bool, window: int | None
) -> None:
    """Segments of different lengths in one launch, against the reference on the same bfloat16 operands."""
    device = gpu.cuda()
    heads, kv_heads, dim = shape
    make = torch.Generator().manual_seed(sum(lengths))
    q, k, v = (torch.randn(sum(lengths), h, dim, generator=make).bfloat16() for h in (heads, kv_heads, kv_heads))
    g = torch.randn(q.shape, generator=make)
    window = window if causal else None
    found = []
    for backend, kind in (("reference", torch.float32), ("sdpa", torch.bfloat16)):
        own = [t.to(device, kind).detach().requires_grad_() for t in (q, k, v)]
        batch = Batch.pack([[0] * n for n in lengths], device=device)
        out = attend(*own, batch, 0, causal=causal, window=window, backend=backend)
        (out.float() * g.to(device)).sum().backward()
        found.append([out.float(), *(t.grad.float() for t in own)])  # type: ignore[union-attr]
    for want, got in zip(*found, strict=True):
        assert float((got - want).detach().norm()) <= 1e-2 * float(want.detach().norm()) + 1e-2


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_is_separate(name: str, dtype: torch.dtype) -> None:
    device = gpu.cuda()
    rows, model, objective = tiny.examples(5), tiny.model(name).to(device, dtype), LM()
    packed = objective(model, tiny.pack(rows, masked=2).to(device))
    packed.sum.backward()
    grads = {n: p.grad.float() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = 0.0
    for row in rows:
        loss = objective(model, tiny.pack([row], masked=2).to(device))
        loss.sum.backward()
        total += float(loss.sum.detach())
    bound = 1e-4 if dtype == torch.float32 else 3e-2
    assert float(packed.sum.detach()) == pytest.approx(total, rel=bound / 3)
    for n, p in model.named_parameters():
        assert p.grad is not None
        assert float((p.grad.float() - grads[n]).norm() / grads[n].norm()) < bound, n


@pytest.mark.parametrize("name", ["llama", "gpt2", "untied"])
def test_accumulated_is_one_batch(name: str) -> None:
    config = replace(CONFIG, optimiser=OptimiserConfig(name="sgd", lr=0.1))
    runs = [trainer(config, micro, name) for micro in (4, 3, 1)]
    for run in runs:
        run.fit()
    for run in runs[1:]:
        for key, value in weights(run).items():
            torch.testing.assert_close(value, weights(runs[0])[key], rtol=1e-4, atol=1e-5, msg=key)


def test_the_gpu_trains_as_the_cpu_does() -> None:
    ours = trainer(replace(CONFIG, optimiser=OptimiserConfig(name="sgd", lr=0.1)))
    there = Trainer(tiny.model(), LM(), tiny.Memory(tiny.examples(32), 4, 4), ours.config)
    for run in (ours, there):
        run.fit()
    for key, value in weights(ours).items():
        torch.testing.assert_close(value.cpu(), weights(there)[key], rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "mixed"])
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_resumed_is_never_stopped(tmp_path: Path, precision: Any, optimiser: Any) -> None:
    """Bit for bit, where torch is asked for kernels that add in a fixed order."""
    config = replace(CONFIG, precision=precision, optimiser=OptimiserConfig(name=optimiser, lr=1e-2, decay=0.1))
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        whole = trainer(config)
        whole.fit()
        first = trainer(config, store=Store(tmp_path))
        for _ in range(3):
            first.step()
        first.save("last")
        second = trainer(config, store=Store(tmp_path))
        second.fit(resume=True)
    finally:
        torch.use_deterministic_algorithms(before)
    assert second.progress.step == 6
    for key, value in weights(second).items():
        assert torch.equal(value, whole.weights.masters[key]), key


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_compiled_is_eager(name: str) -> None:
    config = replace(CONFIG, steps=2, optimiser=OptimiserConfig(name="sgd", lr=0.1))
    model = [trainer(replace(config, compile=on), name=name) for on in (False, True)]
    for run in model:
        run.source.rows[:] = [row[:1] * 16 for row in run.source.rows]  # type: ignore[attr-defined]
        run.fit()
    for key, value in weights(model[0]).items():
        torch.testing.assert_close(weights(model[1])[key], value, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_merged_is_the_adapter(method: str) -> None:
    device = gpu.cuda()
    model = tiny.model().to(device)
    mounted = tune.attach(model, tune.TuneConfig(method=method))
    run = Trainer(model, LM(), tiny.Memory(tiny.examples(32), 4, 4), replace(CONFIG, steps=3))
    run.fit()
    batch = Batch.pack(tiny.examples(3), device=device)
    with torch.inference_mode():
        want = model(batch)
    tune.merge(mounted)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch), want, rtol=1e-4, atol=1e-4)
