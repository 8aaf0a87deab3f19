"""n-gram overlap of a test set with training data: how fast, beside lm-eval's Janitor.

The training data are WikiText-2's training split, the test set is ARC-Challenge with 200 passages of 30 words planted
that were cut out of the training data. Both look for 13-grams; Janitor (a set of n-grams in Python, as lm-eval installs
it) reads the first megabytes, ours all of it. Ours must find every planted passage; what it finds besides is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
from pathlib import Path

from benchmarks.harness import Result, data_path, interleave, ratios, spread, timed
from idiolect.data.readers import open_records
from idiolect.evals import contamination

SUMMARY = "Contamination: exact 13-gram overlap in MB/s, beside lm-eval's Janitor."
PLANTED, WORDS = 200, 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rival-mb", type=float, default=1.0, help="megabytes that the rival reads in each round")
    parser.add_argument("--rounds", type=int, default=3)


def planted(lines: list[str], seed: int = 0) -> list[tuple[str, list[str]]]:
    """Passages of the training text, in capitals and with other spaces."""
    rng = random.Random(seed)
    long = [words for line in lines if len(words := line.split()) > 2 * WORDS]
    cut = [(w, rng.randrange(len(w) - WORDS)) for w in rng.sample(long, PLANTED)]
    return [(f"planted {i}", ["\n".join(w[at : at + WORDS]).upper()]) for i, (w, at) in enumerate(cut)]


def run(args: argparse.Namespace) -> Result:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from lm_eval.decontamination.janitor import Janitor

    train = data_path(args.data, "corpora/wikitext2/train.raw.gz")
    records = open_records(train)
    text = "".join(records[i].value["text"] for i in range(len(records)))
    lines = text.splitlines()
    tests = planted(lines) + contamination.items(Path(data_path(args.data, "bench/arc/arc_challenge.jsonl")))
    size = len(text.encode()) / 1e6
    part = text[: int(args.rival_mb * 1e6)].splitlines()

    janitor = Janitor(ngram_n=13)
    for _, texts in tests:
        for one in texts:
            janitor.register_contaminant_python(one)
    found: list[contamination.Contamination] = []

    def ours() -> float:
        return size / timed(lambda: found.append(contamination.overlap(contamination.Training(train), tests, least=13)))

    def rival() -> float:
        return args.rival_mb / timed(lambda: [janitor.clean_python(line) for line in part])

    figures = interleave({"ours": ours, "janitor": rival}, args.rounds)
    done = found[-1]
    right = sum(i.found > 0 for i in done.items[:PLANTED])
    besides = [i for i in done.dirty if not i.item.startswith("planted")]
    print(f"{len(tests)} items, {size:.1f} MB; planted passages found: {right} of {PLANTED}; others: {len(besides)}")
    for item in besides[:5]:
        print(f"  {Path(item.item).name}: {item.stretches[0].text[:100]}")
    for name, values in figures.items():
        print(f"{name:10} {spread(values)} MB/s")
    each = ratios(figures["ours"], figures["janitor"])
    return Result(
        "contamination",
        spread(figures["ours"]).median,
        spread(figures["janitor"]).median,
        each.median,
        "MB/s of training text",
        len(tests),
        "every planted passage found, at least 5 times as fast",
        right == PLANTED and each.median >= 5,
    )
