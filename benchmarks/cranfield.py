"""Index candidates on Cranfield: quality, speed and install size side by side.

Cranfield is 1,400 abstracts on aerodynamics with 225 questions and graded judgements. Every lexical candidate is
measured on the same terms (our tokeniser) where it takes terms, and with its own analyser where it has one; every
dense candidate on the same vectors. A judgement counts as relevant when it is 1 to 4 (the published scale runs from
1, a complete answer, to 4, of minimal interest; -1 is of no interest); gains are binary, because copies of this
collection disagree about the direction of the scale.

Candidates are dev extras; one that is not installed is left out of the table, and said to be.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, data_path, interval
from idiolect.evals.metrics import ndcg_at_k, recall_at_k
from idiolect.retrieval.index import BM25, Exact
from idiolect.retrieval.tokenise import Tokeniser

SUMMARY = "BM25 and vector index candidates on Cranfield: nDCG@10, recall@100, speed and install size."
K = 100
Ranker = Callable[[str, int], Sequence[str]]  # query, depth -> document ids, best first


@dataclass(frozen=True, slots=True)
class Collection:
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, set[str]]  # query id -> ids of its relevant documents


def load(folder: Path) -> Collection:
    """Read the collection in its SMART format. Judgements name queries by position, not by their `.I` number."""
    documents = {}
    for record in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(), flags=re.MULTILINE)[1:]:
        number, rest = record.split("\n", 1)
        fields = dict(re.findall(r"^\.([TABW])\n(.*?)(?=^\.[TABW]\n|\Z)", rest, flags=re.MULTILINE | re.DOTALL))
        title, body = fields.get("T", "").strip(), fields.get("W", "").strip()
        documents[number.strip()] = body if body.startswith(title) else f"{title}\n{body}"
    queries = {}
    for position, record in enumerate(re.split(r"^\.I ", (folder / "cran.qry").read_text(), flags=re.MULTILINE)[1:], 1):
        queries[str(position)] = " ".join(record.split(".W\n", 1)[1].split())
    relevant: dict[str, set[str]] = {query: set() for query in queries}
    for line in (folder / "cranqrel").read_text().splitlines():
        query, document, grade = line.split()
        if int(grade) >= 1 and documents.get(document, "").strip():
            relevant[query].add(document)
    return Collection(documents, queries, relevant)


def judge(data: Collection, ranker: Ranker) -> tuple[np.ndarray, np.ndarray, float]:
    """nDCG@10 and recall@100 of each query, and queries per second at depth 100."""
    begin = time.perf_counter()
    rankings = {query: ranker(text, K) for query, text in data.queries.items()}
    seconds = time.perf_counter() - begin
    gains = np.array([ndcg_at_k(rankings[q], data.relevant[q]) for q in data.queries])
    found = np.array([recall_at_k(rankings[q], data.relevant[q], K) for q in data.queries])
    return gains, found, len(rankings) / seconds


def installed_mb(*packages: str) -> float:
    """Megabytes on disk of the packages' own files; 0 for what is in the standard library or here anyway."""
    total = 0
    for package in packages:
        for file in importlib.metadata.distribution(package).files or []:
            path = Path(str(file.locate()))
            total += path.stat().st_size if path.is_file() else 0
    return total / 1e6


# ---------------------------------------------------------------------------------------------------- candidates
# Each takes the documents and gives a ranker; building it is the index time.


def ours(documents: dict[str, str], tokeniser: Tokeniser | None = None, **values: Any) -> Ranker:
    index = BM25(tokeniser, **values)
    index.add_counted(list(documents), [index.tokeniser.count(text) for text in documents.values()])
    return lambda query, k: [hit.chunk for hit in index.search(query, k)]


def bm25s_same_terms(documents: dict[str, str], tokeniser: Tokeniser | None = None, **values: float) -> Ranker:
    import bm25s

    tokeniser, ids = tokeniser or Tokeniser(), list(documents)
    index = bm25s.BM25(method="lucene", **values)
    index.index([tokeniser(text) for text in documents.values()], show_progress=False)

    def rank(query: str, k: int) -> list[str]:
        rows, scores = index.retrieve([tokeniser(query)], k=k, show_progress=False)
        return [ids[row] for row, score in zip(rows[0], scores[0], strict=True) if score > 0]

    return rank


def bm25s_own_terms(documents: dict[str, str]) -> Ranker:
    import bm25s
    import Stemmer

    stemmer, ids = Stemmer.Stemmer("english"), list(documents)
    index = bm25s.BM25()
    terms = bm25s.tokenize(list(documents.values()), stopwords="en", stemmer=stemmer, show_progress=False)
    index.index(terms, show_progress=False)

    def rank(query: str, k: int) -> list[str]:
        terms = bm25s.tokenize(query, stopwords="en", stemmer=stemmer, show_progress=False)
        rows, scores = index.retrieve(terms, k=k, show_progress=False)
        return [ids[row] for row, score in zip(rows[0], scores[0], strict=True) if score > 0]

    return rank


def fts5(documents: dict[str, str], *, own: bool) -> Ranker:
    """SQLite's full-text index: with its Porter stemmer (`own`), or over our terms."""
    tokeniser, ids = Tokeniser(), list(documents)
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE VIRTUAL TABLE f USING fts5(body, tokenize='{'porter ' if own else ''}unicode61')")
    texts = documents.values() if own else (" ".join(tokeniser(text)) for text in documents.values())
    db.executemany("INSERT INTO f (rowid, body) VALUES (?, ?)", enumerate(texts))

    def rank(query: str, k: int) -> list[str]:
        words = re.findall(r"\w+", query) if own else tokeniser(query)
        match = " OR ".join(f'"{word}"' for word in words)
        found = db.execute("SELECT rowid FROM f WHERE f MATCH ? ORDER BY rank LIMIT ?", (match, k))
        return [ids[row] for (row,) in found]

    return rank


def tantivy_index(documents: dict[str, str]) -> Ranker:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw")
    builder.add_text_field("body", tokenizer_name="en_stem")
    folder = tempfile.TemporaryDirectory()
    index = tantivy.Index(builder.build(), path=folder.name)
    writer = index.writer()
    for name, text in documents.items():
        writer.add_document(tantivy.Document(id=name, body=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()

    def rank(query: str, k: int, keep: Any = folder) -> list[str]:
        words = " ".join(re.findall(r"\w+", query.lower()))
        searcher = index.searcher()
        hits = searcher.search(index.parse_query(words, ["body"]), k).hits
        return [searcher.doc(address)["id"][0] for _, address in hits]

    return rank


def rank_bm25(documents: dict[str, str]) -> Ranker:
    from rank_bm25 import BM25Okapi

    tokeniser, ids = Tokeniser(), list(documents)
    index = BM25Okapi([tokeniser(text) for text in documents.values()])

    def rank(query: str, k: int) -> list[str]:
        scores = index.get_scores(tokeniser(query))
        return [ids[row] for row in np.argsort(-scores, kind="stable")[:k] if scores[row] > 0]

    return rank


LEXICAL: dict[str, tuple[Callable[[dict[str, str]], Ranker], tuple[str, ...], str]] = {
    "idiolect BM25": (ours, ("pystemmer", "regex"), "yes"),
    "bm25s, our terms": (bm25s_same_terms, ("bm25s", "pystemmer", "regex"), "no"),
    "bm25s, its own": (bm25s_own_terms, ("bm25s", "pystemmer"), "no"),
    "FTS5, our terms": (lambda d: fts5(d, own=False), ("pystemmer", "regex"), "yes"),
    "FTS5, porter": (lambda d: fts5(d, own=True), (), "yes"),
    "tantivy, en_stem": (tantivy_index, ("tantivy",), "yes"),
    "rank-bm25, our terms": (rank_bm25, ("rank-bm25", "pystemmer", "regex"), "no"),
}


def numpy_exact(ids: list[str], vectors: np.ndarray) -> Callable[[np.ndarray, int], list[str]]:
    index = Exact(vectors.shape[1])
    index.add(ids, vectors)
    return lambda query, k: [hit.chunk for hit in index.search(query, k)]


def usearch_hnsw(ids: list[str], vectors: np.ndarray) -> Callable[[np.ndarray, int], list[str]]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
    index.add(np.arange(len(ids)), vectors)
    return lambda query, k: [ids[row] for row in index.search(query, k).keys]


def hnswlib_graph(ids: list[str], vectors: np.ndarray) -> Callable[[np.ndarray, int], list[str]]:
    import hnswlib

    index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
    index.init_index(max_elements=len(ids), ef_construction=200, M=16)
    index.add_items(vectors, np.arange(len(ids)))
    index.set_ef(200)
    return lambda query, k: [ids[row] for row in index.knn_query(query, k=k)[0][0]]


DENSE: dict[str, tuple[Callable[[list[str], np.ndarray], Callable[[np.ndarray, int], list[str]]], tuple[str, ...]]] = {
    "idiolect exact (NumPy)": (numpy_exact, ()),
    "usearch HNSW": (usearch_hnsw, ("usearch", "numkong", "tqdm")),
    "hnswlib HNSW": (hnswlib_graph, ("hnswlib",)),
}


def encoder() -> Any:
    """The embedded encoder through our own engine."""
    from idiolect import models
    from idiolect.engine import Embedder

    return Embedder(models.load(models.EMBEDDED_ENCODER))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-dense", action="store_true", help="leave the encoder and the vector indexes out")
    parser.add_argument("--settings", action="store_true", help="also print BM25 under other settings")


def row(name: str, gains: np.ndarray, found: np.ndarray, seconds: float, rate: float, size: float, note: str) -> str:
    low, high = interval(gains)
    return (
        f"{name:24} {gains.mean():.4f} [{low:.3f}, {high:.3f}]  {found.mean():.4f}  {seconds:8.3f} {rate:9.0f} "
        f"{size:8.1f}  {note}"
    )


def run(args: argparse.Namespace) -> Result:
    data = load(data_path(args.data, "ir/cranfield"))
    print(f"{len(data.documents)} documents, {len(data.queries)} queries; gains binary; 95 % bootstrap intervals")
    print(f"{'index':24} nDCG@10 [95 %]           R@100    index s  queries/s  size MB  add and delete")
    gains_of: dict[str, np.ndarray] = {}
    for name, (build, packages, incremental) in LEXICAL.items():
        try:
            begin = time.perf_counter()
            ranker = build(data.documents)
            seconds = time.perf_counter() - begin
            size = installed_mb(*packages)
        except ImportError as error:
            print(f"{name:24} not installed ({error.name})")
            continue
        gains, found, rate = judge(data, ranker)
        gains_of[name] = gains
        print(row(name, gains, found, seconds, rate, size, incremental), flush=True)
    if args.settings:
        settings(data)
    if not args.no_dense:
        dense(data)
    mine, rival = gains_of["idiolect BM25"], gains_of["bm25s, its own"]
    low, high = interval(mine - rival)
    print(f"idiolect BM25 minus bm25s, its own: {(mine - rival).mean():+.4f} [{low:+.4f}, {high:+.4f}], paired")
    return Result(
        "cranfield",
        float(mine.mean()),
        float(rival.mean()),
        float(mine.mean() / rival.mean()),
        "nDCG@10 of BM25; rival: bm25s with its stemmer and stop words",
        len(data.queries),
        "ours not below the rival's",
        bool(mine.mean() >= rival.mean()),
    )


def settings(data: Collection) -> None:
    """BM25 under other stemmers, stop lists and constants. The defaults are the literature's, not this table's best."""
    whole = Tokeniser(language=None)
    cases: list[tuple[str, Ranker]] = [
        ("no stemming", ours(data.documents, whole)),
        ("stop words kept", ours(data.documents, stop=())),
        ("bm25s, k1=1.2", bm25s_same_terms(data.documents, k1=1.2, b=0.75)),
        *((f"k1={k1} b={b}", ours(data.documents, k1=k1, b=b)) for k1 in (0.9, 1.2, 1.5, 2.0) for b in (0.4, 0.75)),
    ]
    for name, ranker in cases:
        gains, found, rate = judge(data, ranker)
        print(row(f"  {name}", gains, found, 0.0, rate, 0.0, ""), flush=True)


def dense(data: Collection) -> None:
    embed = encoder()
    begin = time.perf_counter()
    vectors = embed(list(data.documents.values()), "doc")
    seconds = time.perf_counter() - begin
    print(f"embedding: {len(vectors) / seconds:.0f} documents/s; the rows below index and search its vectors")
    queries = dict(zip(data.queries.values(), embed(list(data.queries.values()), "query"), strict=True))
    for name, (build, packages) in DENSE.items():
        try:
            begin = time.perf_counter()
            search = build(list(data.documents), vectors)
            seconds = time.perf_counter() - begin
            size = installed_mb(*packages)
        except ImportError as error:
            print(f"{name:24} not installed ({error.name})")
            continue
        gains, found, rate = judge(data, lambda text, k, search=search: search(queries[text], k))
        print(row(name, gains, found, seconds, rate, size, "yes"), flush=True)
