"""Outputs, gradients and files beside peft's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models, tune
from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.nn import Batch
from tests.models.tiny import make
from tests.tune.tiny import METHODS, logits, segments, shake, tiny

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.parity

NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
THEIRS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=4, lora_alpha=10, target_modules=NAMES, task_type="CAUSAL_LM"),
    "lora-regex": lambda: peft.LoraConfig(r=3, target_modules=r".*\.1\.self_attn\.(q|v)_proj", task_type="CAUSAL_LM"),
    "lora-patterns": lambda: peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 3}
    ),
    "lora-pattern-regex": lambda: peft.LoraConfig(
        r=4,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={r"layers\.1\..*q_proj": 2, "^model.layers.0.self_attn.q_proj": 3},
        alpha_pattern={r"layers\.[01]\..*(q|down)_proj": 32},
    ),
    "lora-exclude": lambda: peft.LoraConfig(
        r=4, target_modules=NAMES, exclude_modules=["k_proj", "model.layers.0.mlp.down_proj"], layers_to_transform=[]
    ),
    "lora-head": lambda: peft.LoraConfig(r=4, target_modules=["q_proj", "lm_head"]),
    "ia3-exclude": lambda: peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], exclude_modules=r".*\.1\..*k_proj"
    ),
    "rslora": lambda: peft.LoraConfig(r=4, use_rslora=True, target_modules=NAMES[:4], task_type="CAUSAL_LM"),
    "dora": lambda: peft.LoraConfig(r=4, use_dora=True, target_modules=NAMES, task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(task_type="CAUSAL_LM"),
    "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
}
SHAPES = ["llama", "llama-bias-wide", "qwen3"]


@pytest.fixture(scope="module", params=SHAPES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    make(request.param, folder)
    return folder


def theirs(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager", dtype=torch.float32).eval()


def ours(base: Path) -> Any:
    return models.load(base, dtype="float32", progress=False)


def their_logits(model: Any) -> torch.Tensor:
    parts = []
    for s in segments():
        out = model(input_ids=torch.tensor([s])).logits[0]
        parts.append(out[-len(s) :])  # peft leaves the virtual tokens' rows of a soft prompt in front
    return torch.cat(parts)


def near(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-12))


def trained(base: Path, name: str, seed: int = 5) -> Any:
    """A peft model whose every learned value was moved."""
    torch.manual_seed(seed)
    model = peft.get_peft_model(theirs(base), THEIRS[name]())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize("name", THEIRS)
def test_their_adapter_gives_their_logits_and_gradients(name: str, base: Path, tmp_path: Path) -> None:
    model = trained(base, name)
    model.save_pretrained(tmp_path / "peft")
    mine = ours(base)
    mounted = tune.load(mine, tmp_path / "peft")
    expected, found = their_logits(model), mine(Batch.pack(segments()))
    assert near(found, expected) < 1e-4
    target = torch.arange(found.shape[0]) % found.shape[1]
    for out in (expected, found):
        torch.nn.functional.cross_entropy(out, target, reduction="sum").backward()
    grads = {n.replace(".default", ""): p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert len(grads) == len(mounted.state_dict())
    with torch.no_grad():
        for parameter in mounted.parameters():  # the same views that read the values read the gradients
            assert parameter.grad is not None
            parameter.data = parameter.grad
    for key, value in mounted.state_dict().items():
        short = "embedding" if key == "prompt_embeddings" else key.removesuffix(".weight")
        (theirs_grad,) = [g for n, g in grads.items() if short in n]
        assert near(value, theirs_grad) < 1e-4, key


OURS = ("lora", "lora-all", "rslora", "dora", "ia3", "prefix", "prompt")


@pytest.mark.parametrize("name", OURS)
def test_our_adapter_opens_in_peft_with_our_logits(name: str, base: Path, tmp_path: Path) -> None:
    mine = ours(base)
    mounted = shake(tune.attach(mine, METHODS[name]))
    mounted.save(tmp_path / "ours")
    model = peft.PeftModel.from_pretrained(theirs(base), tmp_path / "ours").eval()
    with torch.no_grad():
        assert near(their_logits(model), logits(mine)) < 1e-4


@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_gpt2_whose_matrices_lie_transposed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    make("gpt2", folder)
    mine = ours(folder)
    config = tune.TuneConfig("lora", ("all",)) if name == "lora" else tune.TuneConfig("ia3")
    shake(tune.attach(mine, config)).save(tmp_path / "ours")
    model = peft.PeftModel.from_pretrained(theirs(folder), tmp_path / "ours").eval()
    with torch.no_grad():
        assert near(their_logits(model), logits(mine)) < 1e-4


# ------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"init_lora_weights": "pissa"}, "a base that was changed first .init_lora_weights='pissa'"),
        ({"init_lora_weights": "olora"}, "a base that was changed first"),
        ({"bias": "lora_only"}, "bias='lora_only'.*merge_and_unload"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save=.*merge_and_unload"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "no layer is called 'embed_tokens'"),
    ],
)
def test_what_we_have_not_is_refused(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    """Else the logits would be others, and nobody would know."""
    make("llama", tmp_path / "base")
    config = peft.LoraConfig(**{"r": 4, "target_modules": ["q_proj"], **options})
    peft.get_peft_model(theirs(tmp_path / "base"), config).save_pretrained(tmp_path / "peft")
    with pytest.raises(BadInput, match=says) as error:
        tune.load(ours(tmp_path / "base"), tmp_path / "peft")
    assert error.value.hint


def test_a_factor_on_the_input_of_a_fused_product_is_refused(tmp_path: Path) -> None:
    """It would scale the input of its neighbour too."""
    make("llama", tmp_path / "base")
    config = peft.IA3Config(target_modules=["k_proj", "gate_proj"], feedforward_modules=["gate_proj"])
    peft.get_peft_model(theirs(tmp_path / "base"), config).save_pretrained(tmp_path / "peft")
    with pytest.raises(BadInput, match="gate_proj shares its input with .*up_proj"):
        tune.load(ours(tmp_path / "base"), tmp_path / "peft")


def test_a_converted_adapter_is_a_plain_one(tmp_path: Path) -> None:
    """What the hint for PiSSA says to do."""
    make("llama", tmp_path / "base")
    torch.manual_seed(3)
    model = peft.get_peft_model(
        theirs(tmp_path / "base"), peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa")
    )
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "begin")
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    expected = their_logits(model.eval()).detach()
    model.save_pretrained(tmp_path / "plain", path_initial_model_for_weight_conversion=str(tmp_path / "begin"))
    mine = ours(tmp_path / "base")
    tune.load(mine, tmp_path / "plain")
    with torch.no_grad():
        assert near(mine(Batch.pack(segments())), expected) < 1e-4


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    shake(tune.attach(tiny(), METHODS["lora"])).save(tmp_path / "adapter")
    return tmp_path / "adapter"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def tensors(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda f: (f / "adapter_config.json").unlink(), NotFound, "is no adapter"),
        (lambda f: (f / "adapter_config.json").write_text("{"), CorruptFile, "cannot read"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), NotFound, "has no adapter_model.safetensors"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"123"), CorruptFile, "cannot read"),
        (lambda f: edit(f, peft_type="LOAR"), BadInput, "did you mean 'LORA'"),
        (lambda f: edit(f, bias="all"), BadInput, "bias='all', which is not supported"),
        (lambda f: edit(f, target_modules=["q_proj", "w_proj"]), BadInput, "no layer is called 'w_proj'"),
        (lambda f: edit(f, target_modules=["q_proj"]), BadInput, "have no place in"),
        (lambda f: edit(f, r=5), BadInput, "is for another base: .* is \\(3, 32\\)"),
        (lambda f: tensors(f, lambda t: dict(list(t.items())[1:])), CorruptFile, "1 of 24 tensors are missing"),
        (lambda f: tensors(f, lambda t: {k: v / 0 for k, v in t.items()}), CorruptFile, "no numbers"),
    ],
)
def test_a_damaged_adapter_is_one_clear_error(saved: Path, damage: Any, error: type[Exception], says: str) -> None:
    damage(saved)
    model = tiny()
    expected = logits(model)
    with pytest.raises(error, match=says) as caught:
        tune.load(model, saved)
    assert "\n" not in str(caught.value)
    assert torch.equal(logits(model), expected)


def test_an_adapter_of_another_base_is_refused(saved: Path) -> None:
    with pytest.raises(BadInput, match="made for another base"):
        tune.load(tiny(seed=9), saved)
    tune.load(tiny(seed=9), saved, any_base=True)
    with pytest.raises(BadInput, match="for another base|have no place|missing"):
        tune.load(tiny(hidden_size=64), saved, any_base=True)


def test_the_same_base_in_another_number_type_is_the_same() -> None:
    from idiolect.tune.weights import fingerprint

    rounded = tiny().bfloat16()
    assert fingerprint(rounded) == fingerprint(tiny().bfloat16().float())
    assert fingerprint(tiny())["matrices"] != fingerprint(tiny(seed=1))["matrices"]


@pytest.mark.slow
def test_lora_on_the_embedded_model_equals_peft(tmp_path: Path) -> None:
    """Logits, gradients and the way back, on real weights."""
    mine = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    mounted = shake(tune.attach(mine, tune.TuneConfig("lora", ("q", "v", "down"))), scale=0.02)
    mounted.save(tmp_path / "ours")
    mounted.detach()
    models.save(mine, tmp_path / "base")
    mounted = tune.mount(mine, mounted.adapter)
    rival = peft.PeftModel.from_pretrained(theirs(tmp_path / "base"), tmp_path / "ours", is_trainable=True).eval()
    parts = segments(lengths=(24, 17), vocabulary=4000)
    expected = torch.cat([rival(input_ids=torch.tensor([s])).logits[0] for s in parts])
    found = mine(Batch.pack(parts))
    assert near(found, expected) < 1e-5
    target = torch.arange(len(found)) * 7
    for out in (expected, found):
        torch.nn.functional.cross_entropy(out, target).backward()
    grads = {n.replace(".default", ""): p.grad for n, p in rival.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in mounted.parameters():
            parameter.data = parameter.grad  # type: ignore[assignment]
    for key, value in mounted.state_dict().items():
        assert near(value, grads[key]) < 2e-4, key
