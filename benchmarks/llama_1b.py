"""A Llama of a billion parameters (the shapes of Llama-3.2-1B, vocabulary 49,152, random weights) beside llama.cpp.

Both sides read the same GGUF files, written here into a temporary folder: Q4_1, and Q4_0, which llama.cpp repacks and
runs fastest. At this size decoding reads some 700 MB a token, so the machine's bandwidth counts more than at 135 M.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu_engine import Llama, Ours, measure
from benchmarks.harness import Result

SUMMARY = "Decode, prefill and 32 streams of a 1B-shaped Llama beside llama.cpp."
SHAPE = {"layers": 16, "dim": 2048, "hidden": 8192, "heads": 32, "kv_heads": 8, "vocab": 49152}
GOALS = {"decode": 1.3, "prefill": 1.6, "streams32": 1.6}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="new tokens of a stream (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", default="decode,prefill,streams32")
    parser.add_argument("--kinds", default="Q4_0,Q4_1", help="of the file; each is a run of its own")
    parser.add_argument("--layers", type=int, default=SHAPE["layers"], help="fewer for a quick look")


def write(path: Path, kind: str, layers: int, source: Path) -> None:
    """A GGUF of that kind; vocabulary and tokenizer are those of `source`."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            of = field.types[0]
            inner = field.types[-1] if of == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), of, sub_type=inner)
    d, h = SHAPE["dim"], SHAPE["hidden"]
    kv = d // SHAPE["heads"] * SHAPE["kv_heads"]
    writer.add_block_count(layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(h)
    writer.add_head_count(SHAPE["heads"])
    writer.add_head_count_kv(SHAPE["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(d // SHAPE["heads"])
    writer.add_vocab_size(SHAPE["vocab"])
    type_ = gguf.GGMLQuantizationType[kind]
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    rng = np.random.default_rng(0)
    made: dict[tuple[int, int, Any], Any] = {}

    def matrix(name: str, rows: int, columns: int, of: Any = type_) -> None:
        key = (rows, columns, of)  # the numbers do not matter to the speed: equal shapes share theirs
        if key not in made:
            values = rng.standard_normal((rows, columns), dtype=np.float32) * columns**-0.5
            made[key] = gguf.quants.quantize(values, of)
        writer.add_tensor(name, made[key], raw_dtype=of)

    ones = np.ones(d, np.float32)
    matrix("token_embd.weight", SHAPE["vocab"], d, gguf.GGMLQuantizationType.Q8_0)
    for i in range(layers):
        for name, rows, columns in (
            *(("attn_q", d, d), ("attn_k", kv, d), ("attn_v", kv, d), ("attn_output", d, d)),
            *(("ffn_gate", h, d), ("ffn_up", h, d), ("ffn_down", d, h)),
        ):
            matrix(f"blk.{i}.{name}.weight", rows, columns)
        writer.add_tensor(f"blk.{i}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", ones)
    writer.add_tensor("output_norm.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models

    torch.set_num_threads(args.threads)
    small: Any = models.load(models.EMBEDDED_LM, dtype="stored", progress=False)
    words = (Path(__file__).parent / "data" / "offtopic.txt").read_text(encoding="utf-8")
    text = small.tokenizer.encode(words * 20)[:512]
    kinds, found = args.kinds.split(","), {}
    figure = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            path = Path(folder) / f"{kind}.gguf"
            write(path, kind, args.layers, small.source.path)
            print(f"{kind}: {path.stat().st_size / 1e6:.0f} MB, {args.layers} layers", flush=True)
            model = models.load(str(path), dtype="stored", progress=False)
            sides: dict[str, Any] = {"ours": Ours(model), f"llama.cpp {kind}": Llama(path, args.threads)}
            print(f"runner: {sides['ours'].engine.stats().runner}")
            for task in args.tasks.split(","):
                for name, ratio in measure(task, sides, text, args).items():
                    found[task, name] = ratio
            figure = figure or sides["ours"].last.get("decode", 0.0)
            sides["ours"].engine.close()
            del sides, model
            path.unlink()
    fastest = f"llama.cpp {kinds[0]}"
    ratio = found.get(("decode", fastest))
    goals = [found[task, fastest] >= goal for task, goal in GOALS.items() if (task, fastest) in found]
    return Result(
        "llama_1b",
        figure,
        figure / ratio if ratio else None,
        ratio,
        f"tokens/s of one stream, beside {fastest}",
        args.rounds,
        "beside its fastest (Q4_0): decode >= 1.3, prefill and 32 streams >= 1.6",
        all(goals) if goals else None,
        [f"{task} {name}: {ratio:.2f}x" for (task, name), ratio in found.items()],
    )
