"""Schedules, optimisers, what decays, blank models and their tokenizers, checkpoints."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.train import checkpoint
from idiolect.train.blank import BlankConfig, blank
from idiolect.train.config import OptimiserConfig, ScheduleConfig
from idiolect.train.optim import Muon, build, orthogonalise
from idiolect.train.optim.build import rules
from idiolect.train.schedule import factor
from idiolect.train.vocabulary import TokenizerConfig, learn
from tests.train import tiny

# ------------------------------------------------------------------------------------------------------- schedules


def curve(total: int = 100, **options: object) -> list[float]:
    config = ScheduleConfig(**options)  # type: ignore[arg-type]
    return [factor(config, step, total) for step in range(total)]


def test_schedules_in_numbers() -> None:
    assert curve(name="constant") == [1.0] * 100
    warm = curve(name="linear", warmup=10)
    assert warm[:11] == pytest.approx([*[0.1 * i for i in range(1, 11)], 1.0])
    assert warm[55] == pytest.approx(0.5)
    cosine = curve(name="cosine", floor=0.1)
    assert cosine[0] == 1.0
    assert cosine[50] == pytest.approx(0.55)
    assert cosine[99] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.99)))
    stable = curve(name="wsd", warmup=0.1, decay=0.2)
    assert stable[9:80] == [1.0] * 71
    assert stable[90] == pytest.approx(0.5)
    fading = curve(name="exponential", floor=0.01)
    ratios = [b / a for a, b in itertools.pairwise(fading)]
    assert ratios == pytest.approx([0.01 ** (1 / 100)] * 99)


@given(
    st.sampled_from(["constant", "linear", "cosine", "wsd", "exponential"]),
    st.integers(1, 200),
    st.floats(0, 250),
    st.floats(0.01, 1),
)
@settings(max_examples=100)
def test_every_schedule_stays_between_floor_and_peak(name: str, total: int, warmup: float, floor: float) -> None:
    config = ScheduleConfig(name, warmup=warmup, floor=floor)  # type: ignore[arg-type]
    values = [factor(config, step, total) for step in range(total)]
    assert all(0 < v <= 1 + 1e-9 for v in values)
    rising = min(int(warmup) if warmup >= 1 else round(warmup * total), total)
    assert all(b >= a for a, b in itertools.pairwise(values[:rising]))
    after = values[rising:]
    assert all(b <= a + 1e-9 and b >= floor - 1e-9 for a, b in itertools.pairwise(after))


# ------------------------------------------------------------------------------------------------------ optimisers


def test_muon_orthogonalises() -> None:
    torch.manual_seed(0)
    for shape in ((32, 48), (48, 32), (40, 40)):
        found = orthogonalise(torch.randn(shape) @ torch.diag(torch.logspace(-1.5, 0, shape[1])))
        values = torch.linalg.svdvals(found)
        assert values.max() < 1.3
        assert values.median() > 0.65


def test_muon_is_torchs() -> None:
    """The same update as torch's own Muon, which computes the iteration in bfloat16."""
    torch.manual_seed(0)
    start = torch.randn(24, 16)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    first = Muon([ours], **options)
    second = torch.optim.Muon([theirs], **options)
    for _ in range(4):
        grad = torch.randn(24, 16)
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        first.step()
        second.step()
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_decays_and_what_takes_muon(name: str) -> None:
    model = tiny.model(name)
    decays, hidden = rules({"model": model})
    every = {f"model.{n}": p for n, p in model.named_parameters()}
    assert decays == hidden
    assert {n for n in every if n not in decays} == {
        n for n, p in every.items() if p.ndim < 2 or "embed" in n or "positions" in n
    }
    untied_decays, untied_hidden = rules({"model": tiny.model("untied")})
    assert set(untied_decays) - set(untied_hidden) == {"model.head.weight"}
    optimisers = build(every, OptimiserConfig("muon", decay=0.1), decays, hidden)
    assert [type(p).__name__ for p in optimisers.parts] == ["Muon", "AdamW"]
    assert sum(len(g["params"]) for p in optimisers.parts for g in p.param_groups) == len(every)
    assert [g["weight_decay"] for p in optimisers.parts for g in p.param_groups] == [0.1, 0.0]


# ---------------------------------------------------------------------------------------------------- blank models


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_blank_model_starts_at_the_uniform_loss(family: str) -> None:
    tokenizer = learn(TokenizerConfig("characters"), ["the quick brown fox jumps over the lazy dog"])
    config = BlankConfig(family, layers=3, heads=2, width=64, context=32)  # type: ignore[arg-type]
    model = blank(config, tokenizer, seed=5)
    again = blank(config, tokenizer, seed=5)
    other = blank(config, tokenizer, seed=6)
    for (name, one), two, three in zip(model.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        assert one.ndim < 2 or not torch.equal(one, three), name
    ids = tokenizer.encode("the lazy fox")
    logits = model(tiny.pack([ids]).batch)
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
    assert loss.item() == pytest.approx(math.log(len(tokenizer)), rel=0.05)
    assert model.layers[0].mlp.down.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.1)  # type: ignore[operator, index, union-attr]
    assert model.layers[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)  # type: ignore[operator, index, union-attr]


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_characters_round_trip(text: str) -> None:
    """Every character of the training text comes back, whatever it is (U+2581 is the one that reads as a space)."""
    text = "".join(c for c in text if not 0xD800 <= ord(c) < 0xE000) + "a"
    tokenizer = learn(TokenizerConfig("characters"), [text])
    assert len(tokenizer) == len(set(text) - {"\u2581"}) + 1
    wanted = text.replace("\u2581", "")
    assert tokenizer.decode(tokenizer.encode(wanted)) == wanted
    assert tokenizer.decode(tokenizer.encode(wanted + "\U0010fffd")) in (wanted, wanted + "\U0010fffd")


def test_byte_pairs(tmp_path: Path) -> None:
    text = "low lower lowest new newer newest " * 20
    tokenizer = learn(TokenizerConfig("bpe", size=280), [text])
    assert len(tokenizer) <= 280
    assert len(tokenizer.encode(text)) < len(text) / 2
    for other in (text, "ünï ☃ \n\t\x00 code"):
        assert tokenizer.decode(tokenizer.encode(other)) == other
    assert tokenizer.eos_ids == (tokenizer.specials["<|endoftext|>"],)
    with pytest.raises(BadInput, match="257"):
        TokenizerConfig("bpe", size=100)


def test_transformers_reads_the_character_tokenizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    text = "To be, or not to be:\nthat is the question"
    tokenizer = learn(TokenizerConfig("characters"), [text])
    tokenizer.save(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    assert theirs.decode(tokenizer.encode(text)) == text


# ----------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "weights/a": torch.randn(3, 5),
        "weights/b": torch.randn(4).bfloat16(),
        "optimiser/a/step": torch.tensor(3.0),
        "optimiser/a/empty": torch.zeros(0, 4),
    }
    progress = checkpoint.Progress(7, 123, 1.5, 6)
    checkpoint.write(tmp_path / "x.safetensors", tensors, progress, {"recipe": "r"})
    found, again, notes = checkpoint.read(tmp_path / "x.safetensors")
    assert again == progress
    assert notes == {"recipe": "r"}
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    assert checkpoint.part(found, "optimiser").keys() == {"a/step", "a/empty"}


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(NotFound):
        checkpoint.read(path)
    checkpoint.write(path, {"weights/a": torch.randn(30)}, checkpoint.Progress(), {})
    whole = path.read_bytes()
    for broken in (whole[:-7], whole[:40], b"", json.dumps({"a": 1}).encode()):
        path.write_bytes(broken)
        with pytest.raises(CorruptFile, match="no checkpoint"):
            checkpoint.read(path)
