"""Retrieval: queries, documents, and judgements of which belong together, in Cranfield's or BEIR's format.

Cranfield (Cleverdon 1967) is three files in SMART's format; its judgements name queries by position. BEIR (Thakur et
al. 2021, arXiv:2104.08663) is corpus.jsonl, queries.jsonl and qrels/test.tsv.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from idiolect.core.canonical import digest
from idiolect.core.errors import BadInput, NotFound
from idiolect.evals.metrics.retrieval import (
    average_precision,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
)
from idiolect.evals.tasks import reading
from idiolect.evals.tasks.base import Base, wrong_reply
from idiolect.evals.types import Document, Found, Grade, Item, Metric, Reply, Search

Judgements = dict[str, dict[str, int]]  # query -> document -> gain


class SearchTask(Base):
    """`data.path` is the collection's folder; `top` documents are asked for."""

    metrics = (
        Metric("ndcg@10", about="normalised discounted cumulative gain of the first ten"),
        Metric("recall@100", about="share of the relevant documents among the first hundred"),
        Metric("mrr", about="1 / rank of the first relevant document"),
        Metric("map", about="mean average precision"),
        Metric("precision@10", about="share of relevant documents among the first ten"),
    )

    @cached_property
    def _collection(self) -> tuple[list[Document], dict[str, str], Judgements]:
        folder = self.files[0]
        kind = self.config.data.format
        if kind == "auto":
            kind = "beir" if any(folder.glob("corpus.jsonl*")) else "cranfield"
        try:
            return beir(folder) if kind == "beir" else cranfield(folder)
        except FileNotFoundError as error:
            raise NotFound(f"there is no {error.filename}", hint=f"{folder} is no {kind} collection") from None

    def documents(self) -> list[Document]:
        return self._collection[0]

    @cached_property
    def corpus(self) -> str:
        """Names the documents, so that a search knows in which it looks."""
        return digest("corpus", *(f"{d.id}\n{d.title}\n{d.text}" for d in self.documents()))[:16]

    def items(self, limit: int | None = None) -> Iterable[Item]:
        _, queries, relevant = self._collection
        ids = [query for query in queries if relevant.get(query)]
        for query in ids[:limit]:
            request = Search(queries[query], self.config.top, self.corpus)
            yield Item(query, request, relevant[query], {"question": queries[query]})

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Found):
            raise wrong_reply(item, reply)
        ranking, relevant = list(reply.ids), item.target
        return {
            "ndcg@10": ndcg_at_k(ranking, relevant, 10),
            "recall@100": recall_at_k(ranking, relevant, 100),
            "mrr": reciprocal_rank(ranking, relevant),
            "map": average_precision(ranking, relevant),
            "precision@10": precision_at_k(ranking, relevant, 10),
        }


def cranfield(folder: Path) -> tuple[list[Document], dict[str, str], Judgements]:
    """A judgement of 1 to 4 counts as relevant (-1 does not); gains are binary, since copies of the collection disagree
    about the direction of the scale. Documents without text are left out."""
    documents = []
    for number, fields in _smart(folder / "cran.all.1400"):
        title, body = fields.get("T", ""), fields.get("W", "")
        if title or body:
            documents.append(Document(number, body.removeprefix(title).strip(), title))
    known = {d.id for d in documents}
    queries = {str(i): fields.get("W", "") for i, (_, fields) in enumerate(_smart(folder / "cran.qry"), 1)}
    relevant: Judgements = {}
    for line in (folder / "cranqrel").read_text("utf-8").splitlines():
        query, document, grade = line.split()[:3]
        if int(grade) >= 1 and document in known:
            relevant.setdefault(query, {})[document] = 1
    return documents, queries, relevant


def _smart(path: Path) -> list[tuple[str, dict[str, str]]]:
    found = []
    for record in re.split(r"^\.I ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        number, _, rest = record.partition("\n")
        parts = re.findall(r"^\.([A-Z])\n(.*?)(?=^\.[A-Z]\n|\Z)", rest, flags=re.MULTILINE | re.DOTALL)
        found.append((number.strip(), {name: " ".join(text.split()) for name, text in parts}))
    return found


def beir(folder: Path) -> tuple[list[Document], dict[str, str], Judgements]:
    """Gains are the judgements' own scores; 0 and less are not relevant."""
    documents = [
        Document(str(row["_id"]), str(row.get("text", "")), str(row.get("title") or ""))
        for row in _lines(folder, "corpus")
    ]
    queries = {str(row["_id"]): str(row["text"]) for row in _lines(folder, "queries")}
    files = sorted((folder / "qrels").glob("test.tsv*")) or sorted((folder / "qrels").glob("*.tsv*"))
    if not files:
        raise NotFound(f"there are no judgements in {folder / 'qrels'}", hint="BEIR keeps them in qrels/test.tsv")
    relevant: Judgements = {}
    for line in reading.read_text(files[0]).splitlines()[1:]:
        parts = line.split("\t")
        if len(parts) >= 3 and int(parts[-1]) > 0:
            relevant.setdefault(parts[0], {})[parts[-2]] = int(parts[-1])
    return documents, queries, relevant


def _lines(folder: Path, name: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"{name}.jsonl*"))
    if not files:
        raise NotFound(f"there is no {name}.jsonl in {folder}", hint="is it a BEIR collection?")
    try:
        return [json.loads(line) for line in reading.read_text(files[0]).splitlines() if line.strip()]
    except ValueError as error:
        raise BadInput(f"{files[0]}: {error}", hint="each line must be a JSON object") from None
