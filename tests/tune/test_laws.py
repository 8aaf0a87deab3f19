"""What holds for every way of adapting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idiolect import tune
from idiolect.core.errors import BadInput
from idiolect.nn import Batch
from idiolect.nn.stored import plain
from tests.tune.tiny import MERGES, METHODS, ZERO, logits, segments, shake, tiny


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-10) -> bool:
    return float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


ANYWHERE = [name for name, config in METHODS.items() if config.targets in ((), ("all",))]  # no names of one family


@pytest.mark.parametrize(("name", "kind"), [*((n, "llama") for n in METHODS), *((n, "gpt2") for n in ANYWHERE)])
def test_an_adapter_begins_as_its_base_learns_alone_and_leaves_no_trace(name: str, kind: str) -> None:
    model = tiny(kind=kind)
    base = logits(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    mounted = tune.attach(model, METHODS[name])
    if name in ZERO:
        assert close(logits(model), base)
    names = [n for n, _ in mounted.named_parameters()]
    assert names and not set(names) & set(before)
    model(Batch.pack(segments())).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in mounted.named_parameters() if _first(n))
    shake(mounted)
    assert not close(logits(model), base, 1e-4)
    mounted.detach()
    assert torch.equal(logits(model), base)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())


def _first(name: str) -> bool:
    """Parameters whose gradient is not zero at the start: A and D have none while B and U are zero."""
    return not name.endswith(("delta.a", "delta.down", "delta.down_bias"))


@pytest.mark.parametrize("name", METHODS)
def test_packed_equals_separate(name: str) -> None:
    model = tiny()
    shake(tune.attach(model, METHODS[name]))
    together = logits(model)
    apart = torch.cat([logits(model, [s]) for s in segments()])
    assert close(together, apart)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "dora"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """Of all but DoRA, whose definition takes the length of a row for a constant (test_peft.py has its gradients)."""
    model = tiny(num_hidden_layers=2)
    mounted = shake(tune.attach(model, METHODS[name]))
    batch = Batch.pack(segments(lengths=(5, 3)))

    def value() -> torch.Tensor:
        return model(batch).log_softmax(-1)[:, 7].sum()

    value().backward()
    for parameter in mounted.parameters():
        assert parameter.grad is not None
        at = int(parameter.grad.abs().argmax())
        flat = parameter.data.view(-1)
        with torch.no_grad():
            flat[at] += 1e-5
            up = value()
            flat[at] -= 2e-5
            down = value()
            flat[at] += 1e-5
        assert float((up - down) / 2e-5) == pytest.approx(float(parameter.grad.view(-1)[at]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_loaded_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    mounted = shake(tune.attach(tiny(), METHODS[name]))
    expected = logits(mounted.model)
    mounted.save(tmp_path / "adapter")
    again = tiny()
    tune.load(again, tmp_path / "adapter")
    found = logits(again)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", METHODS)
def test_merged_equals_mounted(name: str) -> None:
    mounted = shake(tune.attach(tiny(), METHODS[name]))
    if name not in MERGES:
        with pytest.raises(BadInput, match="cannot be merged"):
            tune.merge(mounted)
        return
    expected = logits(mounted.model)
    report = tune.merge(mounted, probe=[5, 8, 13, 21])
    assert not mounted.on and report.tokens == 4 and report.largest < 1e-9 and report.agree == 1
    assert close(logits(mounted.model), expected)


def test_merging_into_bfloat16_reports_its_rounding() -> None:
    mounted = shake(tune.attach(tiny().bfloat16(), METHODS["lora"]))
    assert all(p.dtype == torch.float32 for p in mounted.parameters())
    report = tune.merge(mounted)
    assert 1e-4 < report.relative < 0.1 and "logits moved" in str(report)


def test_composed_equals_the_sum_of_the_updates() -> None:
    model = tiny()
    one = shake(tune.attach(model, METHODS["lora"]), 1).detach()
    two = shake(tune.attach(model, METHODS["lora-all"]), 2).detach()
    weights = {n: m.dense().clone() for n, m in model.named_modules() if hasattr(m, "dense")}
    mounted = tune.mount(model, tune.compose(model, [(one, 0.5), (two, -2.0)]))
    composed = logits(model)
    mounted.detach()
    for adapter, factor in ((one, 0.5), (two, -2.0)):
        for delta in adapter.deltas.values():
            for b in delta.b:  # type: ignore[union-attr]
                b.data.mul_(factor)
        tune.merge(tune.mount(model, adapter))
    assert any(not torch.equal(weights[n], m.dense()) for n, m in model.named_modules() if n in weights)
    assert close(logits(model), composed)


def test_a_composed_adapter_is_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny()
    one = shake(tune.attach(model, METHODS["lora"]), 1).detach()
    two = shake(tune.attach(model, METHODS["lora-all"]), 2).detach()
    mounted = tune.mount(model, tune.compose(model, [(one, 0.5), (two, 2.0)]))
    expected = logits(model)
    mounted.save(tmp_path / "sum")
    mounted.detach()
    tune.load(model, tmp_path / "sum")
    assert close(logits(model), expected)
    tune.mount  # noqa: B018
    with pytest.raises(BadInput, match="no sum"):
        tune.compose(tiny(), [(tune.attach(tiny(), METHODS["ia3"]), 1.0)])


@pytest.mark.parametrize("name", ["prefix", "prompt"])
def test_virtual_tokens_begin_as_the_text_that_they_stand_for(name: str) -> None:
    model = tiny()

    class Words:
        def encode(self, text: str) -> list[int]:
            return [int(word) for word in text.split()]

    model.tokenizer = Words()  # type: ignore[assignment]
    front = [11, 7, 30, 11]
    expected = torch.cat([logits(model, [front + s])[4:] for s in segments()])
    tune.attach(model, tune.TuneConfig(name, options={"tokens": 4, "text": "11 7 30"}))
    assert close(logits(model), expected)


def test_a_window_counts_virtual_tokens() -> None:
    model = tiny(model_type="mistral", sliding_window=4)
    part = segments(lengths=(9,))[0]
    whole = logits(model, [[5, 6, *part]])[2:]
    mounted = tune.attach(model, tune.TuneConfig("prompt", options={"tokens": 2}))
    soft = mounted.adapter.deltas["embed"]
    with torch.no_grad():
        soft.table.copy_(model.embed.plain(torch.tensor([5, 6])))  # type: ignore[union-attr]
    assert close(logits(model, [part]), whole)


@pytest.mark.parametrize("held", ["packed", "stored", "bfloat16"])
@pytest.mark.parametrize("name", ["lora", "dora", "ia3", "bottleneck"])
def test_deltas_do_not_mind_how_the_layer_holds_its_weight(name: str, held: str) -> None:
    expected_model = tiny().bfloat16().float() if held == "bfloat16" else tiny().float()
    reference = shake(tune.attach(expected_model, METHODS[name]))
    model = tiny().bfloat16() if held == "bfloat16" else tiny().float()
    for module in model.modules():
        if isinstance(module, torch.nn.Module) and hasattr(module, "pack") and held == "packed":
            module.pack()
        elif hasattr(module, "hold") and hasattr(module, "pack") and held == "stored" and module.rows() is None:
            module.hold(plain(module.dense()))
    mounted = shake(tune.attach(model, METHODS[name]))
    batch = Batch.pack(segments())
    sides = []
    for side in (expected_model, model):
        loss = side(batch).float().log_softmax(-1)[:, 5].sum()
        loss.backward()
        sides.append((loss, [p.grad for p in (reference if side is expected_model else mounted).parameters()]))
    tolerance = 0.08 if held == "bfloat16" else 1e-5
    assert close(sides[1][0], sides[0][0], tolerance)
    for a, b in zip(sides[1][1], sides[0][1], strict=True):
        assert a is not None and b is not None
        assert float((a.float() - b.float()).norm() / b.float().norm().clamp(min=1e-8)) < 5 * tolerance
    if held == "stored":
        assert all(m.weight is None for m in model.modules() if hasattr(m, "hold") and hasattr(m, "pack"))


def test_dropout_is_drawn_while_training_only() -> None:
    model = tiny()
    mounted = shake(tune.attach(model, tune.TuneConfig("lora", ("q", "v"), options={"dropout": 0.5})))
    still = logits(model)
    assert torch.equal(still, logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))
    model(Batch.pack(segments())).sum().backward()
    assert all(p.grad is not None for p in mounted.parameters())
    model.eval()
    assert torch.equal(logits(model), still)


def test_full_finetuning_learns_everything_and_saves_a_model(tmp_path: Path) -> None:
    model = tiny()
    mounted = tune.attach(model, tune.TuneConfig("full"))
    assert mounted.count == sum(p.numel() for p in model.parameters())
    shake(mounted)
    mounted.save(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").exists()
    with pytest.raises(BadInput, match="whole model"):
        tune.load(tiny(), tmp_path / "model")
    mounted.detach()
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"method": "lorra"}, "did you mean 'lora'"),
        ({"method": "ia3", "rank": 4}, "unknown option 'ia3.rank'"),
        ({"options": {"dropot": 0.1}}, "did you mean 'dropout'"),
        ({"rank": 0}, "rank is 0"),
        ({"method": "prefix", "options": {"tokens": 0}}, "tokens is 0"),
    ],
)
def test_wrong_options_say_what_was_meant(config: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInput, match=says):
        tune.TuneConfig(**config)


def test_wrong_targets_and_two_adapters_are_refused() -> None:
    model = tiny()
    with pytest.raises(BadInput, match="did you mean 'q_proj'"):
        tune.attach(model, tune.TuneConfig("lora", ("q_prj",)))
    mounted = tune.attach(model, METHODS["lora"])
    with pytest.raises(BadInput, match="already"):
        tune.attach(model, METHODS["ia3"])
    mounted.detach()
    tune.attach(model, METHODS["ia3"])


def test_patterns_mean_rows_of_fused_matrices() -> None:
    from idiolect.tune.targets import resolve

    model = tiny()

    def names(*patterns: str, layers: list[int] | None = None) -> list[str]:
        return [p.hf.removeprefix("model.layers.") for t in resolve(model, patterns, layers) for p in t.parts]

    assert names("q", layers=[1]) == ["1.self_attn.q_proj"]
    assert names("attention", layers=[0]) == [f"0.self_attn.{x}_proj" for x in "qkvo"]
    assert names("layers.2.mlp.*_proj") == [f"2.mlp.{x}_proj" for x in ("gate", "up", "down")]
    assert names(r"re:.*layers\.[01]\.self_attn\.v_proj") == ["0.self_attn.v_proj", "1.self_attn.v_proj"]
    assert len(names("all")) == 3 * 7
    (target,) = resolve(model, ("v_proj",), [0])
    assert (target.path, target.parts[0].begin, target.parts[0].end) == ("layers.0.attention.qkv", 48, 64)


def test_ranks_of_targets_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadInput, match="ranks has 'q_prj'.*did you mean 'q_proj'"):
        tune.attach(tiny(), tune.TuneConfig("lora", ("q", "v"), options={"ranks": {"q_prj": 2}}))
    mounted = tune.attach(tiny(), tune.TuneConfig("lora", ("q", "v"), rank=4, options={"ranks": {"1.*q_proj": 2}}))
    (delta,) = [d for path, d in mounted.adapter.deltas.items() if "layers.1." in path]
    assert [end - begin for begin, end in delta.spans] == [2, 4]  # type: ignore[attr-defined]
