"""Quote mode: is a gold answer inside the (at most three) sentences shown, and is what is off topic refused?

The folder holds the paragraphs of the SQuAD 2.0 sample, one Markdown file each under its article's title; the questions
are its answerable ones. Ours is the whole RAG program on the embedded weights, as a user gets it: retrieval, refusal (a
refused question is a miss), candidates, ranking with the language model, at most three sentences. MiniLM alone and BM25
alone rank all sentences of all documents and show their best three. A hit is a gold answer string inside a shown
sentence, wherever that sentence stands. Off-topic questions: data/offtopic.txt, fifty about other things.

The weights were fitted on other articles: `python -m benchmarks.fitting.quote`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fitting.paragraphs import Asked, read
from benchmarks.harness import Result, data_path, interval, spread

SUMMARY = "Quote mode on SQuAD 2: gold answer in at most three shown sentences, beside MiniLM alone and BM25 alone."
OFF_TOPIC = Path(__file__).parent / "data" / "offtopic.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--impossible", type=int, default=100, help="how many impossible questions to ask too")
    parser.add_argument("--misses", action="store_true", help="print the questions that ours missed")


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int, float]:
    """Questions that only ours, only theirs hit; exact two-sided p of McNemar's test."""
    only = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    lost = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    n = only + lost
    p = min(1.0, 2 * sum(comb(n, k) for k in range(min(only, lost) + 1)) / 2**n) if n else 1.0
    return only, lost, p


def hit(answers: Sequence[str], shown: Sequence[str]) -> bool:
    return any(answer in sentence for answer in answers for sentence in shown)


def line(name: str, top1: Sequence[bool], top3: Sequence[bool]) -> str:
    low, high = interval([float(x) for x in top3])
    return f"{name:34} top-1 {np.mean(top1):.3f}   top-3 {np.mean(top3):.3f}  [{low:.3f}, {high:.3f}]  n={len(top3)}"


def run(args: argparse.Namespace) -> Result:
    from idiolect import models
    from idiolect.engine import Embedder, Engine
    from idiolect.gateway.local import LocalModel
    from idiolect.gateway.rag import Rag
    from idiolect.retrieval import Library

    data = read(data_path(args.data, "rag/squad2_sample.jsonl"))
    embedder = Embedder(models.load(models.EMBEDDED_ENCODER, progress=False))
    model = models.load(models.EMBEDDED_LM, progress=False)
    with tempfile.TemporaryDirectory() as home, Engine(model) as engine:
        data.write(Path(home) / "docs")
        library = Library.open(Path(home) / "docs", embedder=embedder, state=Path(home) / "index")
        library.sync()
        local = LocalModel(model, engine)
        rag = Rag(library, local, mode="quote")
        asked = data.answerable
        print(f"{len(data.texts)} paragraphs, {len(library)} chunks, {len(asked)} answerable questions")
        baseline = Baselines(library, embedder)
        table = {name: [baseline.shown(name, a.question) for a in asked] for name in ("MiniLM alone", "BM25 alone")}
        table["words and meaning, no LM"] = [without_model(library, embedder, a.question) for a in asked]
        answers = [ask(rag, a.question) for a in asked]
        table["quote mode (ours)"] = [shown for shown, *_ in answers]
        hits = {name: [hit(a.answers, s[:3]) for a, s in zip(asked, rows)] for name, rows in table.items()}
        for name, rows in table.items():
            print(line(name, [hit(a.answers, s[:1]) for a, s in zip(asked, rows)], hits[name]))
        ours = hits["quote mode (ours)"]
        for name in ("MiniLM alone", "BM25 alone", "words and meaning, no LM"):
            only, lost, p = mcnemar(ours, hits[name])
            low, high = interval([float(a) - float(b) for a, b in zip(ours, hits[name])])
            gain = np.mean(ours) - np.mean(hits[name])
            print(
                f"ours - {name}: {gain:+.3f} [{low:+.3f}, {high:+.3f}]; only ours {only}, only theirs {lost}, p={p:.3g}"
            )
        counts = [len(shown) for shown, *_ in answers if shown]
        print(f"sentences shown by ours: {np.mean(counts):.2f} on average")
        refused = [r for _, r, *_ in answers]
        off = [ask(rag, q)[1] for q in OFF_TOPIC.read_text("utf-8").splitlines() if q.strip()]
        impossible = [ask(rag, a.question)[1] for a in data.asked if not a.answers][: args.impossible]
        for name, values in (("off topic", off), ("answerable", refused), ("impossible (on topic)", impossible)):
            if values:
                low, high = interval([float(v) for v in values])
                print(f"refused, {name:22} {np.mean(values):.3f}  [{low:.3f}, {high:.3f}]  n={len(values)}")
        print(f"seconds per question, whole program: {spread([t for *_, t in answers])} (min/median/max)")
        stages: dict[str, list[float]] = {}
        for _, _, timings, _ in answers:
            for stage, seconds in timings.items():
                stages.setdefault(stage, []).append(seconds)
        print("median by stage: " + ", ".join(f"{k} {np.median(v):.3f}" for k, v in stages.items()))
        if args.misses:
            misses(asked, table["quote mode (ours)"])
        library.close()
    rate, rival = float(np.mean(ours)), float(np.mean(hits["MiniLM alone"]))
    low, high = interval([float(x) for x in ours])
    met = rate >= 0.85 and np.mean(off) >= 0.9 and np.mean(refused) <= 0.05
    return Result(
        "quote",
        rate,
        rival,
        rate / rival,
        "share of questions with a gold answer in 3 sentences",
        len(ours),
        "0.85; off topic refused >= 0.9, answerable <= 0.05",
        bool(met),
        [
            f"95% [{low:.3f}, {high:.3f}]",
            f"BM25 alone {np.mean(hits['BM25 alone']):.3f}",
            f"off topic refused {np.mean(off):.2f} of {len(off)}",
            f"answerable refused {np.mean(refused):.3f}",
        ],
    )


class Baselines:
    """Every sentence of every document, ranked by one ranker alone."""

    def __init__(self, library: Any, embedder: Any) -> None:
        from idiolect.retrieval.candidates import candidates
        from idiolect.retrieval.index import BM25
        from idiolect.retrieval.types import Chunk

        chunks = [c for d in library.documents() for c in library.chunks(d.path)]
        found = [s for c in chunks for s in candidates([c.passage(0.0, {})])]
        self.texts = list(dict.fromkeys(s.text for s in found))
        self.vectors = embedder(self.texts)
        self.embedder = embedder
        self.bm25 = BM25(library.tokeniser)
        self.bm25.add([Chunk(f"{i:020x}", "", text, (0, len(text))) for i, text in enumerate(self.texts)])

    def shown(self, name: str, question: str) -> list[str]:
        if name == "BM25 alone":
            return [self.texts[int(h.chunk, 16)] for h in self.bm25.search(question, 3)]
        cosines = self.vectors @ self.embedder([question], "query")[0]
        return [self.texts[i] for i in np.argsort(-cosines)[:3]]


def without_model(library: Any, embedder: Any, question: str) -> list[str]:
    from idiolect.retrieval.quote import rank

    quotes = rank(question, library.search(question, 10), embedder=embedder, terms=library.tokeniser)
    return [quote.text for quote in quotes]


def ask(rag: Any, question: str) -> tuple[list[str], bool, dict[str, float], float]:
    """The quotes shown, whether it refused, seconds by stage, seconds in all."""
    from idiolect.core.call import Call, Ctx, Message, Timing, fold

    begin = time.perf_counter()
    done = asyncio.run(fold(rag(Call("quote", (Message("user", question),)), Ctx())))
    seconds = time.perf_counter() - begin
    timings = {e.stage: e.seconds for e in done.events if isinstance(e, Timing)}
    return [c.quote for c in done.citations], done.choices[0].reason == "refused", timings, seconds


def misses(asked: Sequence[Asked], shown: Sequence[list[str]]) -> None:
    for one, sentences in zip(asked, shown, strict=True):
        if not hit(one.answers, sentences[:3]):
            print(f"missed: {one.question} {one.answers} ({one.file})")
            for sentence in sentences[:3]:
                print(f"    {sentence}")
