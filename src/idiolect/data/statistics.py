"""What is in a data set, before training: lengths, tokens, what was left out, duplicates, characters, labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from idiolect.data.dataset import Dataset
from idiolect.data.examples import words
from idiolect.data.tokens import Tokens

SAMPLE = 2000  # examples whose characters are looked at
KINDS = {"L": "letters", "M": "marks", "N": "digits", "P": "punctuation", "S": "symbols", "Z": "spaces", "C": "control"}


@dataclass(frozen=True, slots=True)
class Spread:
    """How numbers are spread out."""

    low: float
    p5: float
    median: float
    mean: float
    p95: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        if not len(values):
            return cls(0, 0, 0, 0, 0, 0)
        low, p5, median, p95, high = np.percentile(values, [0, 5, 50, 95, 100]).tolist()
        return cls(low, p5, median, float(values.mean()), p95, high)

    def __str__(self) -> str:
        return (
            f"{self.low:.0f} to {self.high:.0f}, median {self.median:.0f}, mean {self.mean:.1f}, "
            f"5 % to 95 %: {self.p5:.0f} to {self.p95:.0f}"
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """`lengths` and `counted_lengths` are in tokens an item (a preference: its responses together). `padding` is the
    part of the tokens of a padded batch of 8 that would be padding. `characters` are parts of all characters, `labels`
    numbers of items. `characters_per_token` is 0 where templates and repeated prompts make it
    meaningless. `longer` is the part of the pairs whose chosen response is the longer one."""

    format: str
    records: int
    items: int
    tokens: int
    counted: int
    dropped: int
    truncated: int
    cut: int
    skipped: Mapping[str, int]
    first_skipped: list[str]
    duplicates: int  # items that say what an earlier one says
    lengths: Spread
    counted_lengths: Spread
    padding: float
    words: Spread | None = None  # between white space, an example
    characters_per_token: float = 0.0
    characters: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    values: Spread | None = None
    longer: float | None = None

    def rows(self) -> list[tuple[str, str]]:
        """Names and values, for a table."""
        unused = self.records - self.items
        part = f", of which {self.counted:,} ({_part(self.counted, self.tokens)}) are learned"
        learned = part if self.counted else ""  # of a labelled text the label is
        rows = [
            ("format", self.format),
            ("records", f"{self.records:,}"),
            ("items", f"{self.items:,}" + (f" ({unused:,} records left out)" if unused > 0 else "")),
            ("tokens", f"{self.tokens:,}{learned}"),
            ("tokens an item", str(self.lengths)),
        ]
        if self.counted:
            rows.append(("learned an item", str(self.counted_lengths)))
        if self.words is not None:
            rows.append(("words an item", str(self.words)))
        rows += [
            ("too long", f"{self.dropped:,} left out, {self.truncated:,} truncated by {self.cut:,} tokens"),
            ("duplicates", f"{self.duplicates:,} ({_part(self.duplicates, self.items)})"),
            ("padding saved", f"{self.padding:.0%} of the tokens of padded batches of 8"),
        ]
        if self.characters:
            shares = ", ".join(f"{name} {share:.1%}" for name, share in self.characters.items())
            a_token = f"{self.characters_per_token:.2f} a token; " if self.characters_per_token else ""
            rows.append(("characters", a_token + shares))
        if self.labels:
            rows.append(("labels", ", ".join(f"{k}: {v:,} ({_part(v, self.items)})" for k, v in self.labels.items())))
        if self.values is not None:
            v = self.values
            rows.append(("values", f"{v.low:g} to {v.high:g}, median {v.median:g}, mean {v.mean:.4g}"))
        if self.longer is not None:
            rows.append(("chosen is longer", f"{self.longer:.0%} of the pairs"))
        rows += [("skipped", f"{count:,}: {reason}") for reason, count in self.skipped.items()]
        return rows + [("", place) for place in self.first_skipped[:3]]

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in self.rows():
            table.add_row(Text(name, style="bold"), Text(value))
        return table


def describe(tokens: Tokens, data: Dataset | None = None) -> Statistics:
    """Statistics of token files, and of the texts they were made from where those are given."""
    counts = tokens.counts
    sums = np.concatenate([[0], np.cumsum(tokens.counted, dtype=np.int64)])
    ends = tokens.bounds[tokens.items]
    learned = sums[ends[1:]] - sums[ends[:-1]]
    texts = _texts(tokens, data) if data is not None else {}
    labels: dict[str, int] = {}
    values = None
    if tokens.labels is not None and tokens.classes:
        found = Counter(tokens.labels.astype(int).tolist())
        labels = {name: found[i] for i, name in enumerate(tokens.classes)}
    elif tokens.labels is not None:
        values = Spread.of(tokens.labels)
    return Statistics(
        format=counts.format,
        records=counts.records,
        items=counts.items,
        tokens=counts.tokens,
        counted=counts.counted,
        dropped=counts.dropped,
        truncated=counts.truncated,
        cut=counts.cut,
        skipped=counts.skipped,
        first_skipped=counts.first_skipped,
        duplicates=counts.items - len(np.unique(tokens.hashes)),
        lengths=Spread.of(tokens.lengths),
        counted_lengths=Spread.of(learned),
        padding=_padding(np.diff(tokens.bounds)),
        labels=labels,
        values=values,
        longer=_longer(tokens) if counts.format == "preference" else None,
        **texts,
    )


def _padding(lengths: np.ndarray, each: int = 8) -> float:
    whole = lengths[: len(lengths) // each * each].reshape(-1, each)
    return float(1 - whole.sum() / (whole.max(1).sum() * each)) if len(whole) else 0.0


def _longer(tokens: Tokens) -> float:
    """Over all items: whether the first response is longer than the last."""
    sizes = np.diff(tokens.bounds)
    return float((sizes[tokens.items[:-1]] > sizes[tokens.items[1:] - 1]).mean())


def _texts(tokens: Tokens, data: Dataset) -> dict[str, Any]:
    """Figures of the characters of evenly spaced examples."""
    sources = np.unique(tokens.sources)
    chosen = sources[np.linspace(0, len(sources) - 1, min(SAMPLE, len(sources))).astype(int)]
    kinds: Counter[str] = Counter()
    counts = []
    for index in chosen.tolist():
        text = words(data[index])
        counts.append(len(text.split()))
        for character, times in Counter(text).items():
            kinds[KINDS["Z" if character.isspace() else unicodedata.category(character)[0]]] += times
    total = kinds.total() or 1
    # Elsewhere the tokens are those of the template too, and prompts are repeated.
    plain = tokens.counts.format in ("text", "labelled") and not tokens.counts.cut
    computed = int(tokens.lengths[np.isin(tokens.sources, chosen)].sum())
    return {
        "words": Spread.of(np.array(counts)),
        "characters_per_token": total / max(1, computed) if plain else 0.0,
        "characters": {name: count / total for name, count in kinds.most_common()},
    }


def _part(some: int, all_: int) -> str:
    return f"{some / all_:.1%}" if all_ else "0 %"
