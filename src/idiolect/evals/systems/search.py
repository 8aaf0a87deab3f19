"""Anything that finds documents for a query, as a system: it is given a task's documents and returns a search."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from idiolect.evals.types import Document, Failed, Found, Kind, Reply, Request, Search

Ranking = Sequence[tuple[str, float]]  # document id, score; best first
Searcher = Callable[[str, int], Ranking]
Index = Callable[[Sequence[Document]], Searcher]


class SearchSystem:
    """`index(documents)` returns `search(query, top)`. A run calls `prepare` with its task first."""

    kinds: frozenset[Kind] = frozenset({"search"})

    def __init__(self, index: Index, name: str, fingerprint: str) -> None:
        self._index, self.name, self.fingerprint = index, name, fingerprint
        self.about = {"search": fingerprint}
        self._searchers: dict[str, Searcher] = {}

    def prepare(self, task: Any) -> None:
        """Index the task's documents, unless that was done."""
        if getattr(task, "corpus", None) is not None and task.corpus not in self._searchers:
            self._searchers[task.corpus] = self._index(task.documents())

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for i, request in enumerate(requests):
            if not isinstance(request, Search):
                yield i, Failed(f"{self.name} searches and writes nothing")
                continue
            searcher = self._searchers.get(request.corpus)
            if searcher is None:
                yield i, Failed("the documents of this query were not indexed")
                continue
            ranked = await asyncio.to_thread(searcher, request.query, request.top)
            yield i, Found(tuple(id for id, _ in ranked), tuple(float(score) for _, score in ranked))
