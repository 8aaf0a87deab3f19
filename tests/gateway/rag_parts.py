"""A library of two documents, and a model that says what it is told to, as a real handler."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Message, Prompted, Started, Usage
from idiolect.core.errors import Unavailable
from idiolect.retrieval import Library

ISLANDS = """# Cape Orrin

The lighthouse at Cape Orrin was built by Tamsin Vale in 1911. It stands 48 metres above the sea. Its lamp was made in
Lint, and it has never failed.

# Kelder

The bridge at Kelder was built by Ruan Moss in 1934. It has three arches. It carries no trains.
"""
BEES = "Anna keeps bees in Dornfeld. Her honey won a prize in 2003.\n\nJakob keeps goats in Altmark, near the river.\n"


def documents(folder: Path, embedder: Any = None) -> Library:
    docs = folder / "docs"
    docs.mkdir()
    (docs / "islands.md").write_text(ISLANDS)
    (docs / "animals.txt").write_text(BEES)
    library = Library.open(docs, embedder=embedder, state=folder / "index")
    library.sync()
    return library


class Scripted:
    """Streams the next of its replies, four characters at a time, and keeps the calls that it got."""

    def __init__(self, *replies: str, fail: bool = False) -> None:
        self.replies, self.calls, self.fail = list(replies), [], fail

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        self.calls.append(call)
        reply = self.replies[min(len(self.calls), len(self.replies)) - 1]
        if self.fail and len(self.calls) == 1:
            raise Unavailable("the model is away")
        yield Started("s", "scripted", time.time())
        yield Prompted(messages=call.messages)
        for index in range(call.n):
            for at in range(0, len(reply), 4):
                yield Delta(reply[at : at + 4], index)
            yield Finished("stop", Usage(10, 5), index)


def ask(*turns: str, n: int = 1, **options: Any) -> Call:
    """A conversation; every second turn is the assistant's."""
    messages = tuple(Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(turns))
    return Call("test", messages, n=n, options=options)


def of(events: Sequence[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
