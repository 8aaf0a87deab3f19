"""GGUF files: every architecture we read, every tensor type, and files that are not what they say."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect import models
from idiolect.core.errors import BadInput, CorruptFile, IdiolectError
from idiolect.models.names import interleave_halves, separate_halves
from idiolect.models.read import open_source
from idiolect.models.sources.dequantize import dequantize
from idiolect.nn import Batch
from tests.models import tiny


def write(path: Path, architecture: str, meta: dict[str, Any], tensors: dict[str, Any], raw: Any = None) -> Path:
    """A GGUF file by the `gguf` package's own writer. `raw` maps names to (bytes, type)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in meta.items():
        name = key if "." in key and key.split(".")[0] in ("general", "tokenizer") else f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)
    for name, value in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(value, dtype=np.float32))
    for name, (data, kind) in (raw or {}).items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


BYTES = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256))]
BYTES += [chr(256 + i) for i in range(256 - len(BYTES))]
WORDS = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": [*BYTES, "ab", "<|end|>"],
    "tokenizer.ggml.token_type": [1] * 257 + [3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 257,
}
VOCAB = 258


def convert(model: Any, architecture: str) -> dict[str, np.ndarray]:
    """Our parameters under GGUF's names and in GGUF's layout."""
    found: dict[str, np.ndarray] = {}
    state = model.state_dict()
    for rule in model.rules():
        value = state[rule.name]
        pieces = torch.split(value, [p.rows for p in rule.parts]) if len(rule.parts) > 1 else [value]
        for part, piece in zip(rule.parts, pieces, strict=True):
            mixed = part.rope_heads and architecture == "llama"
            found[part.gguf] = (interleave_halves(piece, part.rope_heads) if mixed else piece).numpy()
    return found


DECODER = {
    "block_count": 3,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 10000.0,
}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # name -> model_type, changed config, metadata
    "llama": ("llama", {}, DECODER),
    "llama-tied": ("llama", {"tie_word_embeddings": True}, DECODER),
    "llama-linear": (
        "llama",
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {**DECODER, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "llama-yarn": (
        "llama",
        {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
        {
            **DECODER,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 16,
        },
    ),
    "qwen2": ("qwen2", {}, DECODER),
    "qwen3": ("qwen3", {"head_dim": 16}, {**DECODER, "attention.key_length": 16}),
    "gpt2": (
        "gpt2",
        {},
        {
            "block_count": 3,
            "context_length": 64,
            "embedding_length": 32,
            "feed_forward_length": 128,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-5,
        },
    ),
}


def case(name: str, folder: Path) -> tuple[Any, Path]:
    """Our model with random weights, and the same in a GGUF file."""
    from idiolect.models.families import family_of

    kind, changes, meta = CASES[name]
    base = {**(tiny.GPT2 if kind == "gpt2" else tiny.LLAMA), "model_type": kind, "vocab_size": VOCAB, **changes}
    model = family_of(base)(base)
    model.initialise(0.2, torch.Generator().manual_seed(3))
    return model, write(folder / f"Tiny-{name}.F32.gguf", kind, {**meta, **WORDS}, convert(model, kind))


@pytest.mark.parametrize("name", CASES)
def test_gguf_equals_the_network_it_was_written_from(name: str, tmp_path: Path) -> None:
    want, path = case(name, tmp_path)
    got = models.load(path, dtype="float32", progress=False)
    assert got.id == f"tiny-{name}" and got.source.kind == "gguf"
    batch = Batch.pack([[5, 6, 7, 8, 200], [9]])
    with torch.inference_mode():
        torch.testing.assert_close(got(batch), want(batch), atol=1e-5, rtol=1e-5)
        again = models.load(models.save(got, tmp_path / "hf").path, dtype="float32", progress=False)
        torch.testing.assert_close(again(batch), want(batch), atol=1e-5, rtol=1e-5)
    assert again.tokenizer.encode("naïve ☃") == got.tokenizer.encode("naïve ☃")


def test_gguf_bert(tmp_path: Path) -> None:
    """An encoder, WordPiece vocabulary included, with first-token pooling."""
    from idiolect.models.bert import Bert

    want = Bert({**tiny.BERT, "model_type": "bert", "vocab_size": 8})
    want.initialise(0.2, torch.Generator().manual_seed(3))
    meta = {
        "block_count": 3,
        "context_length": 66,
        "embedding_length": 32,
        "feed_forward_length": 48,
        "attention.head_count": 4,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": 2,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁a", "▁b", "c"],
        "tokenizer.ggml.token_type": [3, 2, 3, 3, 3, 1, 1, 1],
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.mask_token_id": 4,
    }
    path = write(tmp_path / "tiny-bert.gguf", "bert", meta, convert(want, "bert"))
    got = models.load(path, progress=False)
    assert got.pooling == "cls" and got.normalize and got.max_tokens == 66
    assert got.tokenizer.frame(got.tokenizer.encode("A bc")) == [2, 5, 6, 7, 3]
    batch = Batch.pack([[2, 5, 3], [2, 6, 7, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(got.hidden(batch), want.hidden(batch), atol=1e-5, rtol=1e-5)
        first = want.hidden(batch)[[0, 3]]
        torch.testing.assert_close(got.embed_batch(batch), first / first.norm(dim=-1, keepdim=True))


def test_rope_factors_of_llama3_become_a_scaling(tmp_path: Path) -> None:
    from idiolect.nn.rope import inverse_frequencies, llama3

    scaling = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    plain = inverse_frequencies(8, 10000.0)
    model, path = case("llama", tmp_path)
    tensors = {**convert(model, "llama"), "rope_freqs.weight": (plain / llama3(plain, scaling)).numpy()}
    write(path, "llama", {**DECODER, **WORDS}, tensors)
    assert models.load(path, dtype="float32", progress=False).raw["rope_scaling"] == scaling
    write(path, "llama", {**DECODER, **WORDS}, {**tensors, "rope_freqs.weight": np.full(4, 3.3)})
    with pytest.raises(BadInput, match="rope factors"):
        models.load(path, progress=False)


def test_permutations_are_inverse() -> None:
    weight = torch.randn(24, 5)
    assert torch.equal(separate_halves(interleave_halves(weight, 3), 3), weight)
    bias = torch.arange(8)
    assert interleave_halves(bias, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("kind", [q.name for q in gguf.quants._type_traits] + ["F32", "F16", "F64"])
def test_every_tensor_type_that_gguf_dequantises(kind: str, tmp_path: Path) -> None:
    """Random blocks of each type, through a file: the same values as the `gguf` package's reader gives."""
    quant = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[quant]
    make = np.random.default_rng(0)
    data = make.integers(0, 60, (6, 4 * size), dtype=np.uint8)  # small bytes: no NaN scales
    model, _ = case("llama", tmp_path)
    tensors = convert(model, "llama")
    del tensors["token_embd.weight"]
    path = write(tmp_path / "t.gguf", "llama", {**DECODER, **WORDS}, tensors, {"token_embd.weight": (data, quant)})
    opened = open_source(path)
    got = opened.weights.tensor("token_embd.weight")
    plain = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    want = data.view(plain[kind]) if kind in plain else gguf.dequantize(data, quant)
    assert opened.weights.types["token_embd.weight"] == kind
    assert got.shape == (6, 4 * block) and np.array_equal(got.float().numpy(), want.astype(np.float32))


def test_types_that_gguf_cannot_dequantise_are_named() -> None:
    kind = gguf.GGMLQuantizationType.Q8_K
    with pytest.raises(BadInput, match="tensor x of f has type Q8_K"):
        dequantize(np.zeros((1, 292), np.uint8), kind, (1, 256), "f", "x")


def test_header_equals_the_packages_reader(smol: Any) -> None:
    reader = gguf.GGUFReader(smol.source.path)
    opened = open_source(smol.source.path)
    theirs = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    assert opened.fields == theirs
    assert {t.name: tuple(reversed(t.shape.tolist())) for t in reader.tensors} == opened.weights.shapes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return case("llama", tmp_path_factory.mktemp("whole"))[1].read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_one_clear_error(whole: bytes, tmp_path: Path, cut: float) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(CorruptFile) as error:
        models.inspect(path)
    assert str(path) in error.value.message and error.value.hint


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 5000), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_header_never_escapes_as_another_error(whole: bytes, tmp_path: Path, at: int, value: bytes) -> None:
    path = tmp_path / "bent.gguf"
    path.write_bytes(whole[:at] + value + whole[at + len(value) :])
    try:
        models.inspect(path)
    except IdiolectError as error:
        assert error.hint and "\n" not in str(error)


def test_bad_files(tmp_path: Path, whole: bytes) -> None:
    def fails(path: Path, kind: type[IdiolectError], word: str) -> None:
        with pytest.raises(kind, match=word):
            models.load(path, dtype="float32", progress=False)

    path = tmp_path / "x.gguf"
    path.write_bytes(b"not a model at all, just text")
    fails(path, CorruptFile, "not a GGUF file")
    path.write_bytes(b"")
    fails(path, CorruptFile, "not a GGUF file")
    path.write_bytes(b"GGUF" + (99).to_bytes(4, "little") + whole[8:])
    fails(path, CorruptFile, "version 99")
    model, _ = case("llama", tmp_path)
    tensors, meta = convert(model, "llama"), {**DECODER, **WORDS}
    fails(write(path, "mamba", {}, tensors), BadInput, "mamba")
    fails(write(path, "llama", meta, {k: v for k, v in tensors.items() if "ffn_up" not in k}), CorruptFile, "ffn_up")
    fails(write(path, "llama", meta, {"x": np.zeros(3)}), CorruptFile, "token_embd")
    fails(write(path, "llama", meta, {**tensors, "blk.0.extra": np.zeros(3)}), BadInput, "extra")
    short = {k: v for k, v in meta.items() if k != "block_count"}
    fails(write(path, "llama", short, tensors), BadInput, "block_count")
    fails(write(path, "llama", {**meta, "attention.head_count_kv": [2, 1, 2]}, tensors), BadInput, "layer to layer")
    fails(write(path, "llama", {**meta, "block_count": 1 << 30}, tensors), CorruptFile, "num_hidden_layers")
    fails(write(path, "llama", {**meta, "attention.key_length": 1 << 31}, tensors), CorruptFile, "head_dim")
    data = bytearray(whole)
    name = b"output_norm.weight"
    at = next(i for i in itertools.count(data.find(name)) if data[i : i + len(name)] == name) + len(name)
    data[at + 4 + 8 : at + 4 + 12] = (777).to_bytes(4, "little")  # after the rank and one dimension
    path.write_bytes(data)
    fails(path, BadInput, "unknown type 777")


def test_several_files_in_a_folder_ask_for_one(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(whole)
    assert models.inspect(tmp_path).family == "llama"
    (tmp_path / "b.gguf").write_bytes(whole)
    with pytest.raises(BadInput, match=r"a\.gguf, b\.gguf"):
        models.inspect(tmp_path)


def test_what_was_loaded_may_be_trained_in_place(whole: bytes, tmp_path: Path) -> None:
    """The file is mapped read-only; a weight that lies in it would end the process. So another process tries."""
    path = tmp_path / "m.gguf"
    path.write_bytes(whole)
    code = """if True:
        import sys
        from idiolect import models
        model = models.load(sys.argv[1], dtype="float32", packed=False, progress=False)
        for parameter in model.parameters():
            parameter.data.add_(1.0)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert path.read_bytes() == whole
