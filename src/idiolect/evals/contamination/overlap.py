"""Was the test set trained on? n-grams of its items that stand in a training folder.

Brown et al. 2020 (arXiv:2005.14165, appendix C) call an item dirty that shares an n-gram of 13 words (8 to 13, by the
length of the items) with the training data. Here an item of at least `n` words is looked for in n-grams of n words, a
shorter one of at least `least` words as a whole; what is shorter still says nothing and is counted apart.

The training data are streamed, so they may be larger than memory; what is held is the test set's n-grams and a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.core.errors import BadInput, IdiolectError
from idiolect.core.progress import Sink, progress
from idiolect.data.files import find
from idiolect.data.readers import open_records
from idiolect.evals.contamination.grams import Grams, Place
from idiolect.evals.contamination.words import BLOCK, Block, canonical
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.wilson import wilson

SHOWN = 3  # stretches of an item that are kept to be shown


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring n-grams of an item that the training data hold, as one text; where the first of them stands."""

    text: str
    words: int
    place: Place


@dataclass(frozen=True, slots=True)
class Overlap:
    """One test item: its n-grams, how many of them the training data hold, and the share of its words in those."""

    item: str
    grams: int
    found: int
    covered: float
    stretches: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True)
class Contamination:
    """All items. `short` have too few words to tell; `unread` training records could not be read."""

    items: tuple[Overlap, ...]
    short: int
    unread: int
    bytes: int  # of canonical training text that was read
    n: int
    least: int

    @property
    def dirty(self) -> tuple[Overlap, ...]:
        """The items with a found n-gram, the most covered first."""
        return tuple(sorted((i for i in self.items if i.found), key=lambda i: -i.covered))

    @property
    def share(self) -> Estimate:
        """The share of dirty items among those that could be told, with its interval."""
        return wilson(len(self.dirty), len(self.items) - self.short)


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the training data. `continues`: it goes on where the text before it ended."""

    place: Place
    text: str
    continues: bool = False


def strings(value: Any, fields: Sequence[str] = ()) -> Iterator[str]:
    """Every text in a record, however deep; of a mapping only those under `fields`, when there are any."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            if not fields or key in fields:
                yield from strings(inside)
    elif isinstance(value, list | tuple):
        for inside in value:
            yield from strings(inside, fields)


class Training:
    """The texts of training files, streamed. A record that cannot be read stops (`skip`: it is counted)."""

    def __init__(self, where: str | Path | Sequence[str | Path], *, skip: bool = False, sink: Sink | None = None):
        self.files, self.skip, self.sink, self.unread = find(where), skip, sink, 0

    def __iter__(self) -> Iterator[Text]:
        sizes = [file.stat().st_size for file in self.files]
        with progress("reading", sum(sizes), "B", self.sink) as bar:
            for number, (file, size) in enumerate(zip(self.files, sizes, strict=True)):
                records = open_records(file)
                before, every = sum(sizes[:number]), max(1, len(records) // 200)
                for i in range(len(records)):
                    try:
                        record = records[i]
                    except IdiolectError:
                        if not self.skip:
                            raise
                        self.unread += 1
                        continue
                    value = record.value
                    part = isinstance(value, Mapping) and set(value) == {"text", "first", "last"}
                    for text in strings(value):
                        yield Text(Place(str(file), record.line, 0), text, part and not value["first"])
                    if i % every == 0:
                        bar.update(done=before + size * (i + 1) / len(records))
                bar.update(done=before + size)


def items(where: str | Path, fields: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
    """The items of a test file, as (place, texts). A field that no record has is `BadInput`."""
    found = []
    for file in find(where):
        records = open_records(file)
        for i in range(len(records)):
            record = records[i]
            found.append((f"{file}:{record.line}", list(strings(record.value, fields))))
    if fields and not any(texts for _, texts in found):
        raise BadInput(f"no item of {where} has a text under {', '.join(fields)}", hint="name fields that are there")
    return found


def overlap(
    training: Iterable[Text], tests: Sequence[tuple[str, Sequence[str]]], *, n: int = 13, least: int = 8
) -> Contamination:
    """Look for the n-grams of `tests` (name, texts) in the training texts. No n-gram crosses from text to text."""
    if not 1 <= least <= n:
        raise BadInput(f"n is {n} and least {least}", hint="give 1 <= least <= n, such as 8 and 13")
    owners = [i for i, (_, texts) in enumerate(tests) for _ in texts]
    block = Block.of([canonical(text) for _, texts in tests for text in texts])
    lengths = np.bincount(block.document, minlength=len(owners))
    sets = []
    for size in range(least, n + 1):
        at = block.grams(size)
        wanted = lengths[block.document[at]]
        at = at[wanted >= n if size == n else wanted == size]
        if len(at):
            sets.append(Grams(size, block, at))
    total = 0
    for seen, places in blocks(training, n):
        total += len(seen.data)
        for grams in sets:
            grams.see(seen, places)
    unread = training.unread if isinstance(training, Training) else 0
    rows = _rows(tests, owners, block, sets)
    short = sum(not row.grams for row in rows)
    return Contamination(tuple(rows), short, unread, total, n, least)


def blocks(training: Iterable[Text], n: int) -> Iterator[tuple[Block, list[Place]]]:
    """Blocks of about BLOCK bytes. A longer text is cut between words, and the last n - 1 words before a cut are
    repeated after it, so that no n-gram is lost."""
    held: list[bytes] = []
    places: list[Place] = []
    size, tail, words = 0, b"", 0
    for one in training:
        text = canonical(one.text)
        start, known = one.place, 0
        if one.continues and tail:
            text, start = tail + b" " + text, Place(start.file, start.line, words - tail.count(b" ") - 1)
            known = len(tail)
        while True:
            cut = text.find(b" ", max(BLOCK, known + 1)) if len(text) > BLOCK else -1
            piece = text if cut < 0 else text[:cut]
            held.append(piece)
            places.append(start)
            size += len(piece) + 1
            if size >= BLOCK:
                yield Block.of(held), places
                held, places, size = [], [], 0
            tail = last_words(piece, n - 1)
            words = start.word + piece.count(b" ") + 1
            if cut < 0:
                break
            start = Place(start.file, start.line, words - (tail.count(b" ") + 1 if tail else 0))
            text, known = (tail + text[cut:], len(tail)) if tail else (text[cut + 1 :], 0)
    if held:
        yield Block.of(held), places


def last_words(text: bytes, count: int) -> bytes:
    """The last `count` words of a canonical text."""
    at = len(text)
    for _ in range(count):
        at = text.rfind(b" ", 0, at)
        if at < 0:
            return text if count else b""
    return text[at + 1 :] if count else b""


def _rows(
    tests: Sequence[tuple[str, Sequence[str]]], owners: Sequence[int], block: Block, sets: Sequence[Grams]
) -> list[Overlap]:
    """Each item's figures, from which of its n-grams were found."""
    owner = np.array(owners, np.int64)[block.document] if len(block.starts) else np.zeros(0, np.int64)
    covered = np.zeros(len(block.starts) + 1, np.int64)
    grams, hits = np.zeros(len(tests), np.int64), np.zeros(len(tests), np.int64)
    first: dict[int, Place] = {}
    for one in sets:
        found = one.found
        np.add.at(grams, owner[one.at], 1)
        np.add.at(hits, owner[one.at[found]], 1)
        np.add.at(covered, one.at[found], 1)
        np.add.at(covered, one.at[found] + one.n, -1)
        for word, gram in zip(one.at[found].tolist(), one.which[found].tolist(), strict=True):
            place = one.place[gram]
            assert place is not None
            first[word] = place
    inside = np.cumsum(covered)[:-1] > 0
    counts = np.bincount(owner, minlength=len(tests))
    marked = np.bincount(owner[inside], minlength=len(tests))
    stretches = _stretches(block, inside, owner, first)
    return [
        Overlap(
            name,
            int(grams[i]),
            int(hits[i]),
            float(marked[i] / counts[i]) if counts[i] else 0.0,
            tuple(stretches.get(i, ())),
        )
        for i, (name, _) in enumerate(tests)
    ]


def _stretches(
    block: Block, inside: np.ndarray, owner: np.ndarray, first: Mapping[int, Place]
) -> dict[int, list[Stretch]]:
    made: dict[int, list[Stretch]] = {}
    words = np.flatnonzero(inside)
    if not len(words):
        return made
    gaps = (np.diff(words) != 1) | (np.diff(block.document[words]) != 0)
    for run in np.split(words, np.flatnonzero(gaps) + 1):
        begin, end = int(run[0]), int(run[-1])
        own = made.setdefault(int(owner[begin]), [])
        if len(own) < SHOWN:
            text = block.data[block.starts[begin] : block.ends[end]].tobytes().decode("utf-8", "replace")
            own.append(Stretch(text, len(run), first[begin]))
    return made
