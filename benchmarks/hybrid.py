"""Hybrid retrieval on Cranfield: BM25, MiniLM and their reciprocal rank fusion, compared query by query.

Nothing is tuned on this collection: k1 and b are bm25s's defaults, k = 60 is the fusion paper's constant, the depth of
100 is what the library uses, both rankers have weight 1. `--sweep` prints other constants, to show how little hangs
on them. Differences are paired: the bootstrap draws queries, and both systems answer the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.cranfield import Ranker, bm25s_own_terms, encoder, judge, load
from benchmarks.harness import Result, data_path, interval
from idiolect.retrieval.fuse import reciprocal_rank
from idiolect.retrieval.index import BM25, Exact

SUMMARY = "Hybrid retrieval on Cranfield beside BM25 alone, MiniLM alone and bm25s: nDCG@10 with paired intervals."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sweep", action="store_true", help="also print other fusion constants")


def run(args: argparse.Namespace) -> Result:
    data = load(data_path(args.data, "ir/cranfield"))
    ids, texts = list(data.documents), list(data.documents.values())
    words = BM25()
    words.add_counted(ids, [words.tokeniser.count(text) for text in texts])
    embed = encoder()
    near = Exact(embed.dim)
    near.add(ids, embed(texts, "doc"))
    vectors = dict(zip(data.queries.values(), embed(list(data.queries.values()), "query"), strict=True))

    def fused(k: float, depth: int) -> Ranker:
        def rank(query: str, n: int) -> list[str]:
            rankings = {"bm25": words.search(query, depth), "dense": near.search(vectors[query], depth)}
            return [hit.chunk for hit in reciprocal_rank(rankings, k=k)][:n]

        return rank

    rankers: dict[str, Callable[[str, int], list[str]] | Ranker] = {
        "hybrid": fused(60, 100),
        "bm25": lambda query, n: [hit.chunk for hit in words.search(query, n)],
        "dense": lambda query, n: [hit.chunk for hit in near.search(vectors[query], n)],
        "bm25s": bm25s_own_terms(data.documents),
    }
    if args.sweep:
        rankers |= {f"k={k} depth={d}": fused(k, d) for k in (10, 60, 200) for d in (50, 100, 1000)}
    gains: dict[str, np.ndarray] = {}
    print(f"{len(ids)} documents, {len(data.queries)} queries; binary gains; 95 % bootstrap intervals over queries")
    for name, ranker in rankers.items():
        gains[name], found, _ = judge(data, ranker)
        low, high = interval(gains[name])
        print(f"{name:18} nDCG@10 {gains[name].mean():.4f} [{low:.4f}, {high:.4f}]  recall@100 {found.mean():.4f}")
    lowest = []
    for mine, rival in (("hybrid", "bm25"), ("hybrid", "dense"), ("hybrid", "bm25s"), ("bm25", "bm25s")):
        difference = gains[mine] - gains[rival]
        low, high = interval(difference)
        lowest.append(low)
        print(f"{mine} - {rival}: {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
    best = max(gains["bm25"].mean(), gains["dense"].mean())
    return Result(
        "hybrid",
        float(gains["hybrid"].mean()),
        float(best),
        float(gains["hybrid"].mean() / best),
        "nDCG@10; rival: the better of BM25 alone and dense alone",
        len(data.queries),
        "above both alone, intervals of the differences above 0; BM25 not below bm25s",
        bool(lowest[0] > 0 and lowest[1] > 0 and gains["bm25"].mean() >= gains["bm25s"].mean()),
    )
