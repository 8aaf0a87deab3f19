"""How fast a folder becomes searchable: loading, chunking, counting and indexing, then opening it again unchanged.

The corpus is about 21 MB of prose (WikiText-2, Shakespeare, questions and dialogues) written as 1,000 files, a third
each as text, Markdown and HTML. Our side is the whole of `Library.sync` with its ledger; the rival, bm25s, reads the
same files as they are, tokenises and indexes them in memory, with nothing cut, parsed or kept. The dense part embeds
the same passages with our encoder and with sentence-transformers, in turn.
"""

from __future__ import annotations

import argparse
import gzip
import html
import itertools
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path, interleave, ratios, spread, timed
from idiolect.retrieval import Library

SUMMARY = "Indexing speed: MB of documents a minute to BM25, seconds to reopen 1,000 files, passages/s to vectors."
FILES = 1000
BYTES = 21_000_000
SOURCES = (
    *(f"corpora/wikitext2/{part}.raw.gz" for part in ("train", "valid", "test")),
    "corpora/tinyshakespeare.txt",
    "rag/squad2_sample.jsonl",
    "pref/hh_harmless_base_test.jsonl.gz",
    "sft",
    "bench/gsm8k",
    "bench/mmlu",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default %(default)s)")
    parser.add_argument("--passages", type=int, default=256, help="passages to embed a round (default %(default)s)")
    parser.add_argument("--no-dense", action="store_true", help="leave the encoders out")


def corpus(args: argparse.Namespace, folder: Path) -> int:
    """Write the files; returns their bytes."""
    text = ""
    for source in SOURCES:
        path = data_path(args.data, source)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if len(text) < BYTES and file.is_file():
                raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
                text += raw.decode("utf-8", errors="replace") + "\n"
    size, total = min(len(text), BYTES) // FILES, 0
    for i in range(FILES):
        piece = text[i * size : (i + 1) * size]
        name, body = f"{i}.txt", piece
        if i % 3 == 1:
            name, body = f"{i}.md", f"# Part {i}\n\n{piece}"
        elif i % 3 == 2:
            paragraphs = "".join(f"<p>{html.escape(line)}</p>\n" for line in piece.splitlines())
            name, body = f"{i}.html", f"<!doctype html><meta charset=utf-8><h1>Part {i}</h1>{paragraphs}"
        file = folder / name
        file.write_text(body, "utf-8")
        os.utime(file, (1_600_000_000, 1_600_000_000))
        total += file.stat().st_size
    return total


def run(args: argparse.Namespace) -> Result:
    import bm25s
    import Stemmer

    with tempfile.TemporaryDirectory() as temp:
        docs = Path(temp) / "docs"
        docs.mkdir()
        total = corpus(args, docs)
        rounds = itertools.count()

        def ours() -> float:
            with Library.open(docs, state=Path(temp) / f"state{next(rounds)}") as library:
                return total / 1e6 / timed(lambda: library.sync(quiet)) * 60

        def rival() -> float:
            def work() -> None:
                texts = [file.read_text("utf-8") for file in docs.iterdir()]
                stemmer = Stemmer.Stemmer("english")
                terms = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
                bm25s.BM25().index(terms, show_progress=False)

            return total / 1e6 / timed(work) * 60

        speeds = interleave({"ours": ours, "bm25s": rival}, args.rounds)
        print(f"{FILES} files, {total / 1e6:.1f} MB; min/median/max")
        print(f"idiolect, whole sync: {spread(speeds['ours'])} MB/min")
        print(f"bm25s, in memory:     {spread(speeds['bm25s'])} MB/min (whole files, nothing parsed, cut or kept)")
        print(f"ratio by round:       {ratios(speeds['ours'], speeds['bm25s'])}")
        warm(docs, Path(temp) / "state0")
        if not args.no_dense:
            dense(docs, Path(temp) / "state0", args)
        ours_median, rival_median = spread(speeds["ours"]).median, spread(speeds["bm25s"]).median
        return Result(
            "index_speed",
            ours_median,
            rival_median,
            spread([a / b for a, b in zip(speeds["ours"], speeds["bm25s"], strict=True)]).median,
            "MB/min from files to a searchable, stored index; rival: bm25s in memory",
            args.rounds,
            "at least 20 MB/min",
            ours_median >= 20,
        )


def quiet(_: Any) -> None:
    return None


def warm(docs: Path, state: Path) -> None:
    """Open an indexed folder again, sync it, search it."""
    opened, synced, asked = [], [], []
    for _ in range(3):
        begin = time.perf_counter()
        with Library.open(docs, state=state) as library:
            opened.append(time.perf_counter() - begin)
            synced.append(timed(lambda library=library: library.sync(quiet)))
            for query in ("who wrote the play about the prince of denmark", "battle casualties", "the river bridge"):
                asked.append(1000 * timed(lambda query=query, library=library: library.search(query, how="bm25")))
            chunks, size = len(library), (state / "library.db").stat().st_size / 1e6
    print(f"open again: {spread(opened)} s, sync of {FILES} unchanged files: {spread(synced)} s")
    print(f"search, 10 passages of {chunks} chunks: {spread(asked)} ms; ledger {size:.0f} MB")


def dense(docs: Path, state: Path, args: argparse.Namespace) -> None:
    """Passages per second through our encoder and through sentence-transformers, same weights and same texts."""
    from benchmarks.cranfield import encoder

    with Library.open(docs, state=state) as library:
        paths = [d.path for d in library.documents()]
        passages = [c.text for path in paths[:: max(1, len(paths) // 100)] for c in library.chunks(path)[:8]]
    passages = passages[: args.passages]
    embed = encoder()
    sides = {"ours": lambda: len(passages) / timed(lambda: embed(passages, "doc"))}
    model = sentence_transformer()
    if model is not None:
        sides["rival"] = lambda: len(passages) / timed(lambda: model.encode(passages, batch_size=32))
    embed(passages[:32], "doc")
    speeds = interleave(sides, args.rounds)
    mean = sum(map(len, passages)) / len(passages)
    print(f"embedding {len(passages)} passages of {mean:.0f} characters on average, min/median/max passages/s")
    print(f"idiolect: {spread(speeds['ours'])}")
    if "rival" in speeds:
        print(f"sentence-transformers: {spread(speeds['rival'])}; ratio {ratios(speeds['ours'], speeds['rival'])}")


def sentence_transformer() -> Any:
    """The rival on the same weights, from the cache that our own loader filled."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        print("sentence-transformers is not installed")
        return None
    from idiolect import models

    return SentenceTransformer(str(models.inspect(models.EMBEDDED_ENCODER).path), device="cpu")
