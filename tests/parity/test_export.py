"""GGUF files that we write, read by llama.cpp: the same tokens in, the same tokens out."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.rivals.llama import LlamaCpp
from idiolect import weights
from idiolect.nn import Batch
from tests.weights.test_export import make

pytestmark = pytest.mark.parity
llama_cpp = pytest.importorskip("llama_cpp")

TRICKY = [
    *("", "a", " a", "  a  b ", "\n\n\n x\t\ty \r\n", "1 12 123 1234 12345678 3.14e-5", "I'm we'LL DON'T o'clock"),
    *(
        "Größe naïve e\u0301 Ünïcödé",
        "日本語 中文 한국어 ไทย العربية",
        "😀👍🏽 ﷽ \u200b\ufeff",
        "<|im_start|>user\nhi<|im_end|>",
    ),
    *("a<think>b</think>", "x_y++ == {z}; // ok", "The the theater in 1212 errs", "\u00a0\u3000 tail "),
]


def rival(path: Path, **options: Any) -> Any:
    return llama_cpp.Llama(str(path), verbose=False, n_ctx=64, n_threads=2, **options)


def greedy(model: Any, ids: list[int], count: int) -> tuple[list[int], list[float]]:
    """Our greedy tokens, and the gap between the two best logits at each."""
    found, gaps = list(ids), []
    with torch.no_grad():
        for _ in range(count):
            best = model(Batch.pack([found], last_only=True))[0].topk(2)
            found.append(int(best.indices[0]))
            gaps.append(float(best.values[0] - best.values[1]))
    return found[len(ids) :], gaps


def theirs(path: Path, ids: list[int], count: int) -> tuple[list[int], np.ndarray]:
    """llama.cpp's greedy tokens, and its logits after the prompt (float32 cache)."""
    model = rival(path, type_k=0, type_v=0, flash_attn=False)
    model.eval(ids)
    first = np.ctypeslib.as_array(model._ctx.get_logits(), (model.n_vocab(),)).copy()
    found: list[int] = []
    for token in model.generate(ids, temp=0.0, repeat_penalty=1.0):
        found.append(int(token))
        if len(found) == count:
            break
    model.close()
    return found, first


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("llama", k) for k in ("f32", "f16")),
        *((n, "f32") for n in ("llama-tied-mha", "llama-bias-wide", "llama-yarn", "qwen2", "qwen3", "gpt2")),
        ("qwen2", "f16"),
    ],
)
def test_same_greedy_tokens(name: str, kind: str, tmp_path: Path) -> None:
    model = make(name, tmp_path / "m")
    weights.export_gguf(model, tmp_path / "m.gguf", kind, check=False)
    if kind == "f16":
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data = parameter.data.half().float()
    ids = [5, 17, 80, 2, 33, 64, 200]
    mine, gaps = greedy(model, ids, 16)
    got, logits = theirs(tmp_path / "m.gguf", ids, 16)
    with torch.no_grad():
        own = model(Batch.pack([ids], last_only=True))[0].numpy()
    scale = float(np.abs(own).max())
    near = 5e-3 if kind == "f16" else 5e-4 if name == "gpt2" else 1e-4  # F16 rounds x; GELU is a table
    assert np.abs(own - logits).max() < near * scale
    at = next((i for i, (a, b) in enumerate(zip(mine, got, strict=True)) if a != b), None)
    assert at is None or gaps[at] < 5e-3 * scale, (mine, got)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_1"])
def test_quantised_files_compute_what_we_read_back(kind: str, tmp_path: Path) -> None:
    """llama.cpp rounds activations to 8 bits too, so it is near, not equal: nearer than the weights' own error."""
    from idiolect import models

    model = make("qwen2", tmp_path / "m", intermediate_size=64)
    weights.export_gguf(model, tmp_path / "m.gguf", kind, check=False)
    again = models.load(tmp_path / "m.gguf", dtype="float32", progress=False)
    ids = [5, 17, 80, 2, 33, 64, 200]
    _, got = theirs(tmp_path / "m.gguf", ids, 1)
    with torch.no_grad():
        plain, own = (m(Batch.pack([ids], last_only=True))[0].numpy() for m in (model, again))
    rounding = 2 * float(np.abs(plain - own).max()) if kind != "q8_0" else 0.05 * float(np.abs(own).max())
    assert np.abs(got - own).max() < rounding


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_llama_cpp_reads_our_tokenizers(kind: str, tmp_path: Path) -> None:
    model = make(kind, tmp_path / "m")
    weights.export_gguf(model, tmp_path / "m.gguf", "f16", check=False)
    other = rival(tmp_path / "m.gguf", vocab_only=True)
    tokenizer = model.tokenizer
    for text in TRICKY:
        if kind == "qwen2" and text != unicodedata.normalize("NFC", text):
            continue  # GGUF has no place for the normalizer; the export says so
        raw = text.encode()
        assert other.tokenize(raw, add_bos=False, special=False) == tokenizer.encode(text), text
        assert other.tokenize(raw, add_bos=False, special=True) == tokenizer.encode(text, special=True), text
        assert other.tokenize(raw, add_bos=True, special=False) == tokenizer.encode(text, bos=True), text
    assert other.token_eos() == tokenizer.eos_ids[0]
    assert other.metadata["tokenizer.chat_template"] == model.template.source


def test_llama_cpp_embeds_as_our_encoder_does(minilm: Any, tmp_path: Path) -> None:
    weights.export_gguf(minilm, tmp_path / "m.gguf", "f32", check=False)
    other = rival(tmp_path / "m.gguf", embedding=True)
    for text in ("The capital of France is Paris.", "Größe: naïve 日本語 3.14 don't", "a"):
        ids = minilm.tokenizer.frame(minilm.tokenizer.encode(text))
        assert other.tokenize(text.encode(), add_bos=True, special=False) == ids, text
        with torch.no_grad():
            own = minilm.embed_batch(Batch.pack([ids]))[0].numpy()
        got = np.array(other.embed(text, normalize=True))
        assert np.abs(own - got).max() < 2e-3, text  # its GELU is a table


def test_the_real_tokenizer_and_the_real_model(smol: Any, tmp_path: Path) -> None:
    path = tmp_path / "smol.gguf"
    done = weights.export_gguf(smol, path, "bf16", check=False)
    assert done.types["BF16"] == 211
    other = rival(path, vocab_only=True)
    for text in TRICKY:
        assert other.tokenize(text.encode(), add_bos=False, special=True) == smol.tokenizer.encode(
            text, special=True
        ), text
    ids = smol.tokenizer.encode("The capital of France is")
    engine = LlamaCpp(path, context=64)
    assert smol.tokenizer.decode([engine.prompts([ids])[0]]).strip() == "Paris"
