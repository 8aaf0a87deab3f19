"""Log-likelihoods of given texts, as exact as the model's own numbers: many questions in one packed forward.

Scoring needs no cache between calls and no step budget, so it takes the shortest way: the options of a question are
branches of one trunk (`nn.tree`), questions that begin alike (the examples of a few-shot task) start from one stem,
and logits are computed for the rows that are asked for and no other. Nothing is padded. In float32 the sums equal
those of one text alone within rounding (about 1e-5 nats a token).

What an adapter puts before every sequence (prefix and prompt tuning) is the beginning of every stem: its keys and
values are computed once, and the model then runs without it, its positions moved on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.core.errors import BadInput, ContextOverflow
from idiolect.models.base import CausalModel, bare
from idiolect.nn import Batch, Contiguous
from idiolect.nn.tree import Stem, Tree

ROWS = 256  # rows of logits that exist at once: bounds memory at 256 x V floats
STEM = 48  # a shorter common beginning is not worth a forward of its own


@dataclass(frozen=True, slots=True)
class Question:
    """Whole texts as token ids, of which `ids[i][start[i]:]` is scored. Their common beginning is computed once."""

    ids: tuple[tuple[int, ...], ...]
    start: tuple[int, ...]

    def __post_init__(self) -> None:
        for ids, start in zip(self.ids, self.start, strict=True):
            if not 1 <= start < len(ids):
                raise BadInput(
                    f"nothing can be scored from token {start} of {len(ids)}",
                    hint="a context needs one token at least, and so does an option",
                )

    @property
    def trunk(self) -> int:
        """Tokens that all options share. The last token of a text predicts nothing, so it is no input."""
        first, most = self.ids[0], min(len(ids) for ids in self.ids) - 1
        for other in self.ids[1:]:
            most = _common(first, other, most)
        return most


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Sum of the log-probabilities (natural log) of `tokens` tokens; whether each was the likeliest."""

    logprob: float
    tokens: int
    greedy: bool


class Likelihoods:
    """Scores with a model in torch. Not thread-safe; one forward has about `batch_tokens` tokens."""

    def __init__(self, model: CausalModel, *, batch_tokens: int = 1024) -> None:
        if batch_tokens < 1:
            raise BadInput(f"batch_tokens is {batch_tokens}", hint="give 1 or more", param="batch_tokens")
        self.model = model.eval()
        self.batch_tokens = batch_tokens
        self.computed = 0  # tokens that went through the model so far

    def score(self, questions: Sequence[Question]) -> Iterator[tuple[int, list[Likelihood]]]:
        """(index, a likelihood for each option) as they come. `ContextOverflow` where a text does not fit."""
        for index, question in enumerate(questions):
            longest = max(len(ids) for ids in question.ids) - 1
            if longest > self.model.room:
                raise ContextOverflow(
                    f"text {index} has {longest} tokens, and the context holds {self.model.room}",
                    hint="cut its beginning off",
                )
        front = self._front()
        for stem, members in stems(questions):
            held = self._stem(questions[members[0]].ids[0][:stem], front) if stem else front
            for part in self._parts(questions, members, stem):
                found = self._forward([questions[i] for i in part], stem, held)
                yield from zip(part, found, strict=True)

    def roll(
        self, ids: Sequence[int], *, window: int | None = None, stride: int | None = None, first: int = 1
    ) -> Iterator[Likelihood]:
        """A long text through windows: each token from `first` on is scored once. Yields one `Likelihood` a forward.

        With `window` w and `stride` s the second window begins at token s, and scores what the first has not; so every
        token after the first w has at least w - s tokens of context."""
        most = min(window or self.model.room, self.model.room)
        step = min(stride or most, most - 1)
        if most < 2 or step < 1:
            raise BadInput(f"a window of {most} and a stride of {stride}", hint="give a window of 2 or more")
        spans = list(windows(len(ids), most, step, first))
        for at in range(0, len(spans), max(1, self.batch_tokens // most)):
            part = spans[at : at + max(1, self.batch_tokens // most)]
            batch = Batch.pack([ids[begin:end] for begin, end, _ in part], device=self.model.device)
            wanted = [
                (row + place - begin - 1, ids[place], 0)
                for (begin, end, scored), row in zip(part, batch.bounds)
                for place in range(scored, end)
            ]
            self.computed += len(batch)
            with torch.inference_mode():
                yield self._read(self.model.hidden(batch), wanted, 1)[0]

    # ------------------------------------------------------------------------------------------- one forward

    def _parts(self, questions: Sequence[Question], members: Sequence[int], stem: int) -> Iterator[list[int]]:
        part: list[int] = []
        used = 0
        for i in members:
            question = questions[i]
            trunk = question.trunk
            size = trunk - stem + sum(len(ids) - 1 - trunk for ids in question.ids)
            if part and used + size > self.batch_tokens:
                yield part
                part, used = [], 0
            part.append(i)
            used += size
        if part:
            yield part

    def _front(self) -> Stem | None:
        """What an adapter puts before every text."""
        model = self.model
        if model.front is None:
            return None
        with torch.inference_mode():
            return Stem(*model.front.stem(bare(model), model))

    def _stem(self, ids: Sequence[int], front: Stem | None) -> Stem:
        model, before = self.model, len(front) if front is not None else 0
        cache = Contiguous(model.state_specs(), capacity=before + len(ids), dtype=model.dtype, device=model.device)
        with torch.inference_mode():
            if front is not None:
                cache.begin(front.keys, front.values)
            for begin in range(0, len(ids), self.batch_tokens):
                bare(model)(cache.batch([list(ids[begin : begin + self.batch_tokens])]))
        self.computed += len(ids)
        return Stem(tuple(k[0] for k in cache.keys), tuple(v[0] for v in cache.values))

    def _forward(self, questions: Sequence[Question], stem: int, held: Stem | None) -> list[list[Likelihood]]:
        ids: list[int] = []
        pos: list[int] = []
        bounds = [0]
        shapes: list[tuple[int, tuple[int, ...]]] = []
        wanted: list[tuple[int, int, int]] = []  # row, token that follows it, option
        options = 0
        first = self.model.context - self.model.room  # positions that are taken by what stands in front
        for question in questions:
            trunk, base = question.trunk, len(ids)
            ids += question.ids[0][stem:trunk]
            pos += range(first + stem, first + trunk)
            for text, start in zip(question.ids, question.start, strict=True):
                branch = len(ids)
                ids += text[trunk:-1]
                pos += range(first + trunk, first + len(text) - 1)
                for p in range(start - 1, len(text) - 1):
                    row = base + p - stem if p < trunk else branch + p - trunk
                    wanted.append((row, text[p + 1], options))
                options += 1
            shapes.append((trunk - stem, tuple(len(text) - 1 - trunk for text in question.ids)))
            bounds.append(len(ids))
        device = self.model.device
        batch = Batch(
            ids=torch.tensor(ids, dtype=torch.int64, device=device),
            pos=torch.tensor(pos, dtype=torch.int64, device=device),
            cu=torch.tensor(bounds, dtype=torch.int32, device=device),
            bounds=tuple(bounds),
            tree=Tree(shapes, held),
        )
        self.computed += len(ids)
        with torch.inference_mode():
            found = iter(self._read(bare(self.model)(batch), wanted, options))
        return [[next(found) for _ in question.ids] for question in questions]

    def _read(self, hidden: Tensor, wanted: Sequence[tuple[int, int, int]], options: int) -> list[Likelihood]:
        """Sum up (row, target, option) by option; a row that several want is multiplied with the head once."""
        sums, counts, greedy = [0.0] * options, [0] * options, [True] * options
        by_row: dict[int, list[tuple[int, int]]] = {}
        for row, target, option in wanted:
            by_row.setdefault(row, []).append((target, option))
        rows = sorted(by_row)
        for begin in range(0, len(rows), ROWS):
            part = rows[begin : begin + ROWS]
            logits = self.model.logits(hidden[torch.tensor(part, device=hidden.device)]).float()
            norm, best = logits.logsumexp(1), logits.argmax(1).tolist()
            asked = [(i, target, option) for i, row in enumerate(part) for target, option in by_row[row]]
            places = torch.tensor([i for i, _, _ in asked], device=hidden.device)
            targets = torch.tensor([target for _, target, _ in asked], device=hidden.device)
            values = (logits[places, targets] - norm[places]).tolist()
            for value, (i, target, option) in zip(values, asked, strict=True):
                sums[option] += value
                counts[option] += 1
                greedy[option] &= best[i] == target
        return [Likelihood(s, n, g) for s, n, g in zip(sums, counts, greedy, strict=True)]


def windows(tokens: int, window: int, step: int, first: int = 1) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first scored token) of each window over `tokens` tokens."""
    scored = first
    for begin in range(0, max(tokens - 1, 1), step):
        end = min(begin + window, tokens)
        if end > scored:
            yield begin, end, scored
        scored = max(scored, end)
        if end == tokens:
            return


def stems(questions: Sequence[Question]) -> list[tuple[int, list[int]]]:
    """Groups of questions with the length of the beginning that each group computes once; 0: those that share none."""
    trunks = [question.ids[0][: question.trunk] for question in questions]
    groups: list[tuple[int, list[int]]] = []
    for i in sorted(range(len(trunks)), key=trunks.__getitem__):
        own = len(trunks[i]) - 1  # one token of the trunk is left, whose row predicts
        if groups:
            stem, members = groups[-1]
            shared = _common(trunks[members[-1]], trunks[i], min(stem, own))
            if shared >= STEM and (len(members) == 1 or 4 * shared >= 3 * stem):
                groups[-1] = (shared, [*members, i])
                continue
        groups.append((own, [i]))
    alone = [i for _, members in groups if len(members) == 1 for i in members]
    found = [(stem, members) for stem, members in groups if len(members) > 1]
    return found + ([(0, alone)] if alone else [])


def _common(a: Sequence[int], b: Sequence[int], most: int) -> int:
    if a[:most] == b[:most]:
        return min(most, len(a), len(b))
    return next(i for i, (x, y) in enumerate(zip(a, b)) if x != y)
