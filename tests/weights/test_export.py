"""Exports: what was written is what was meant, whole or absent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from idiolect import cli, models, weights
from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.nn import Batch
from idiolect.text.gguf_write import to_gguf
from tests.models import tiny
from tests.weights.byte_words import write_tokenizer

IDS = [5, 17, 80, 2, 33, 64, 200]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"


def make(name: str, folder: Path, **changes: Any) -> Any:
    """A tiny model with a byte-level tokenizer of 300 entries (rows beyond it are padding) and a template."""
    kind, own = tiny.VARIANTS[name]
    tiny.VARIANTS["export"] = (kind, {**own, "vocab_size": 320, **changes})
    tiny.CAUSAL.append("export")
    try:
        tiny.make("export", folder)
    finally:
        del tiny.VARIANTS["export"]
        tiny.CAUSAL.remove("export")
    write_tokenizer(folder, kind)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return models.load(folder, dtype="float32", progress=False, packed=False)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(Batch.pack([IDS]))


@pytest.mark.parametrize(
    "name",
    [
        "llama",
        "llama-tied-mha",
        "llama-bias-wide",
        "llama-linear",
        "llama-yarn",
        "llama-llama3",
        "qwen2",
        "qwen3",
        "gpt2",
    ],
)
def test_f32_is_the_model_itself(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {}
    if name == "llama-llama3":  # the file keeps factors, not parameters: those of the published models are found again
        own = tiny.VARIANTS[name][1]["rope_scaling"]
        options["rope_scaling"] = {**own, "original_max_position_embeddings": 8192}
    model = make(name, tmp_path / "m", **options)
    done = weights.export_gguf(model, tmp_path / "m.gguf", "f32")
    assert done.check is not None and done.check.same_ids and done.check.same_best == 1
    again = models.load(tmp_path / "m.gguf", dtype="float32", progress=False, packed=False)
    torch.testing.assert_close(logits(again), logits(model), atol=1e-5, rtol=1e-5)
    assert again.template.source == TEMPLATE and again.context == model.context
    assert again.tokenizer.eos_ids == model.tokenizer.eos_ids and again.tokenizer.bos_id == model.tokenizer.bos_id
    twice = weights.export_gguf(again, tmp_path / "again.gguf", "f32")  # a GGUF file, exported once more
    assert torch.equal(logits(models.load(twice.path, dtype="float32", progress=False, packed=False)), logits(again))


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0", "q4_1"])
def test_types_are_as_close_as_their_bits(kind: str, tmp_path: Path) -> None:
    model = make("qwen2", tmp_path / "m")
    done = weights.export_gguf(model, tmp_path / "m.gguf", kind)
    limit = {"f16": 1e-5, "bf16": 1e-3, "q8_0": 1e-3}.get(kind, 0.2)
    assert done.check is not None and done.check.kl is not None and done.check.kl < limit
    found = {t.name: t.tensor_type.name for t in gguf.GGUFReader(done.path).tensors}
    assert found["blk.0.attn_norm.weight"] == found["blk.0.attn_q.bias"] == "F32"
    assert found["blk.0.attn_q.weight"] == kind.upper()
    if kind.startswith("q"):  # its down matrix has rows of 48
        assert found["blk.0.ffn_down.weight"] == "F16" and "3 of width 48" in " ".join(done.notes)
        assert found["token_embd.weight"] == "Q8_0"
    if kind == "q8_0":
        rows = model.layers[0].attention.qkv.dense()[:32]
        tensor = next(t for t in gguf.GGUFReader(done.path).tensors if t.name == "blk.0.attn_q.weight")
        assert torch.equal(torch.from_numpy(tensor.data.copy()), weights.quantise(rows, "q8_0").data)


@pytest.mark.parametrize("kind", ["f32", "bf16", "f16", None])
def test_hugging_face_directories(kind: str | None, tmp_path: Path) -> None:
    model = make("llama", tmp_path / "m")
    weights.quantise_model(model, "int8")
    done = weights.export_hf(model, tmp_path / "out", kind)
    assert (
        done.check is not None and done.check.same_ids and done.check.largest < (1e-5 if kind in (None, "f32") else 1)
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == {"bf16": "bfloat16", "f16": "float16"}.get(str(kind), "float32")
    again = models.load(tmp_path / "out", dtype="float32", progress=False)
    assert again.source.tensor_types == {done.type.upper(): 2 + 1 + 3 * 9}
    with pytest.raises(BadInput, match="not empty"):
        weights.export_hf(model, tmp_path / "out", kind)


def test_a_quantised_model_exports_its_floats(tmp_path: Path) -> None:
    model = make("llama", tmp_path / "m")
    weights.quantise_model(model, "nf4")
    done = weights.export_gguf(model, tmp_path / "m.gguf", "f32")
    assert done.check is not None and done.check.largest < 1e-4


def test_what_gguf_cannot_say_is_refused_before_anything_is_written(tmp_path: Path, minilm: Any) -> None:
    target = tmp_path / "out" / "m.gguf"
    target.parent.mkdir()

    def fails(model: Any, word: str, kind: str = "f32", error: type[Exception] = BadInput) -> None:
        with pytest.raises(error, match=word):
            weights.export_gguf(model, target, kind)
        assert list(target.parent.iterdir()) == []

    tiny.make("roberta", tmp_path / "r")
    fails(models.load(tmp_path / "r", progress=False), "roberta models cannot be written to GGUF")
    tiny.make("bert-relu", tmp_path / "b")
    fails(models.load(tmp_path / "b", progress=False), "bert has no activation 'relu'")
    model = make("llama", tmp_path / "m")
    fails(model, "q8_0", "q8")
    model.layers[0].mlp.down.weight.data[0, 0] = 1e6
    fails(model, "larger than float16", "f16")
    model.layers[0].mlp.down.weight.data[0, 0] = 0.1
    fails(make("llama-dynamic", tmp_path / "d"), "rope scaling 'dynamic'")
    fails(make("gpt2-scaled", tmp_path / "g"), "tanh GELU")
    tiny.write_tokenizer(tmp_path / "m")
    fails(models.load(tmp_path / "m", dtype="float32", progress=False), "of type WordLevel")
    with pytest.raises(NotFound, match="no folder"):
        weights.export_gguf(model, tmp_path / "nowhere" / "m.gguf")
    target.write_text("mine")
    with pytest.raises(BadInput, match="there already"):
        weights.export_gguf(model, target)
    assert target.read_text() == "mine"
    assert weights.export_gguf(model, target, replace=True, check=False).bytes == target.stat().st_size


@pytest.mark.parametrize(("kind", "near"), [("f32", 1e-6), ("q8_0", 0.05)])
def test_an_encoder_is_itself_again(kind: str, near: float, minilm: Any, tmp_path: Path) -> None:
    """Vectors, pooling, and the words of a real WordPiece vocabulary."""
    done = weights.export_gguf(minilm, tmp_path / "m.gguf", kind)
    assert done.check is not None and done.check.same_ids
    again = models.load(tmp_path / "m.gguf", progress=False)
    assert (again.pooling, again.context) == (minilm.pooling, minilm.context)
    assert f"texts end at {minilm.max_tokens} tokens" in " ".join(done.notes)
    assert again.tokenizer.vocabulary == minilm.tokenizer.vocabulary
    assert (again.tokenizer.prefix, again.tokenizer.suffix) == (minilm.tokenizer.prefix, minilm.tokenizer.suffix)
    texts = ["A private assistant.", "naïve Ünïcödé 日本語 😀 don't", "x"]
    batch = Batch.pack([minilm.tokenizer.frame(minilm.tokenizer.encode(text)) for text in texts])
    with torch.no_grad():
        assert (again.embed_batch(batch) - minilm.embed_batch(batch)).norm(dim=-1).max() < near


def test_a_window_cuts_the_context(tmp_path: Path) -> None:
    model = make("mistral-window", tmp_path / "m")
    done = weights.export_gguf(model, tmp_path / "m.gguf", "f32")
    assert models.load(done.path, progress=False).context == 7 and "sliding window of 7" in done.notes[0]
    assert done.check is not None and done.check.largest < 1e-4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    from idiolect import tune

    model = make("llama", tmp_path / "m")
    mounted = tune.attach(make("llama", tmp_path / "n"), tune.TuneConfig("lora", ("all",), rank=32))
    for call in (
        lambda: weights.export_gguf(model, small_disk / "m.gguf"),
        lambda: weights.export_hf(model, small_disk / "d"),
        lambda: mounted.save(small_disk / "a"),
    ):
        with pytest.raises(Unavailable, match="no room left"):
            call()
        assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_the_pre_tokenizer_is_found_by_what_it_does(kind: str, tmp_path: Path) -> None:
    model = make(kind, tmp_path / "m")
    fields, _ = to_gguf(model.tokenizer, 320)
    assert fields["tokenizer.ggml.pre"] == {"llama": "llama-bpe", "qwen2": "qwen2", "gpt2": "gpt-2"}[kind]
    assert fields["tokenizer.ggml.token_type"].count(5) == 320 - len(model.tokenizer)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("llama", tmp_path / "m")
    out = tmp_path / "m.gguf"
    assert cli.main(["export", str(tmp_path / "m"), str(out), "--type", "f16"]) == 0
    said = capsys.readouterr().out
    assert "tokenizers agree" in said and "23 F16" in said
    assert cli.main(["export", str(out), str(tmp_path / "hf"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "hf" and found["type"] == "f16" and found["check"]["same_ids"]
    assert cli.main(["export", str(out), str(out)]) == 2
    assert capsys.readouterr().err.startswith("idiolect: ") and out.exists()


def test_an_adapter_is_merged_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from idiolect import tune

    model = make("llama", tmp_path / "m")
    mounted = tune.attach(model, tune.TuneConfig(method="lora", rank=2, targets=("q_proj", "down_proj")))
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    want = logits(model)
    mounted.save(tmp_path / "adapter")
    words = ["export", str(tmp_path / "m"), str(tmp_path / "out.gguf"), "--type", "f32", "--adapter"]
    assert cli.main([*words, str(tmp_path / "adapter")]) == 0
    assert "merged" in capsys.readouterr().out
    again = models.load(tmp_path / "out.gguf", dtype="float32", progress=False, packed=False)
    torch.testing.assert_close(logits(again), want, atol=1e-4, rtol=1e-4)
    assert cli.main([*words, str(tmp_path / "nothing"), "--replace"]) == 2
    assert "nothing" in capsys.readouterr().err
