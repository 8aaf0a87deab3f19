"""Fit the weights of quote mode and of refusal: `python -m benchmarks.fitting.quote FILE... [--likelihood N]`.

FILE is a question answering set in SQuAD's form: SQuAD 1.1's training file, XQuAD's English file. Articles that the
benchmark holds are left out (`--without FILE.jsonl`), so what is fitted has never seen the benchmark. Prints the
weights to write into retrieval/quote.py and retrieval/refuse.py, and how they do on each file when fitted on the
others.

Ranking: listwise softmax regression (one gold sentence among the candidates of a question); refusal: logistic
regression of questions asked to their own documents against questions asked to the other file's documents.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fitting.paragraphs import Asked, read
from benchmarks.harness import interval
from benchmarks.quote import hit
from idiolect.retrieval.features import NAMES, standard
from idiolect.retrieval.refuse import inputs

REFUSE = ("near", "passage", "cover", "all")


@dataclass(slots=True)
class Row:
    """A question with its candidates' features [C, 4], which of them holds the answer, and the likelihoods of some."""

    asked: Asked
    texts: list[str]
    matrix: np.ndarray
    gold: np.ndarray
    refuse: dict[str, float]
    short: tuple[int, ...] = ()
    likelihoods: list[float] | None = None


def softmax_weights(sets: Sequence[tuple[np.ndarray, np.ndarray]], l2: float = 1e-3) -> np.ndarray:
    """Weights [F] that maximise the mean log-probability of the gold rows; each set is features [C, F], gold [C]."""
    usable = [(torch.tensor(x), torch.tensor(y / y.sum())) for x, y in sets if y.sum()]
    w = torch.zeros(usable[0][0].shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = -sum((y * torch.log_softmax(x @ w, 0)).sum() for x, y in usable) / len(usable) + l2 * (w**2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return w.detach().numpy()


def logistic(x: np.ndarray, y: np.ndarray, l2: float = 1e-3) -> tuple[np.ndarray, float]:
    """Weights [F] and bias of a logistic regression with both classes weighted alike."""
    a, b = torch.tensor(x), torch.tensor(y)
    share = torch.where(b > 0, 0.5 / b.mean(), 0.5 / (1 - b.mean()))
    w = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logit = a @ w[:-1] + w[-1]
        each = torch.nn.functional.binary_cross_entropy_with_logits(logit, b, weight=share)
        total = each + l2 * (w[:-1] ** 2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    found = w.detach().numpy()
    return found[:-1], float(found[-1])


class Source:
    """A file as a library, with rows for a sample of its questions."""

    def __init__(self, path: Path, without: frozenset[str], home: Path, embedder: Any, most: int) -> None:
        from idiolect.retrieval import Library

        data = read(path, without)
        data.write(home / "docs")
        self.name, self.library, self.embedder = path.name, None, embedder
        self.library = Library.open(home / "docs", embedder=embedder, state=home / "index")
        self.library.sync()
        every = data.answerable
        self.asked = every if len(every) <= most else random.Random(1).sample(every, most)
        self.rows = [self.row(one) for one in self.asked]
        print(f"{self.name}: {len(data.texts)} paragraphs, {len(self.rows)} questions", flush=True)

    def row(self, one: Asked) -> Row:
        from idiolect.retrieval.candidates import candidates
        from idiolect.retrieval.features import features

        found = candidates(self.library.search(one.question, 10))
        made = features(one.question, found, self.embedder, self.library.tokeniser)
        gold = [float(c.passage.document == one.file and any(a in c.text for a in one.answers)) for c in found]
        return Row(one, [c.text for c in found], made.matrix(), np.array(gold), inputs(made))

    def read_by(self, engine: Any, tokenizer: Any, n: int, depth: int) -> None:
        """Likelihoods of the `depth` best candidates of the first `n` questions."""
        from idiolect.retrieval.likelihood import items, totals
        from idiolect.retrieval.quote import shortlist

        for row in self.rows[:n]:
            passages = self.library.search(row.asked.question, 10)
            short = shortlist(
                row.asked.question, passages, embedder=self.embedder, terms=self.library.tokeniser, depth=depth
            )
            row.short = short.rows
            row.likelihoods = totals(engine.score(items(tokenizer, short.found, row.asked.question)))


def rate(rows: Sequence[Row], weights: np.ndarray, likelihood: float = 0.0, most: int = 3) -> list[float]:
    """Hit or miss of each question with these weights (1.0, 0.0)."""
    made = []
    for row in rows:
        total = row.matrix @ weights
        keep = np.arange(len(total))
        if row.likelihoods is not None:
            keep = np.array(row.short)
            total = total[keep] + likelihood * standard(np.array(row.likelihoods))
        order = keep[np.argsort(-total, kind="stable")[:most]]
        made.append(float(hit(row.asked.answers, [row.texts[i] for i in order])))
    return made


def ranking(sources: Sequence[Source]) -> None:
    every = [row for s in sources for row in s.rows]
    weights = softmax_weights([(r.matrix, r.gold) for r in every])
    print("WEIGHTS = {" + ", ".join(f'"{n}": {w:.2f}' for n, w in zip(NAMES, weights, strict=True)) + "}")
    for held in sources:
        others = [r for s in sources if s is not held for r in s.rows] or held.rows
        fitted = softmax_weights([(r.matrix, r.gold) for r in others])
        hits = rate([Row(**{**_plain(r), "likelihoods": None}) for r in held.rows], fitted)
        print(f"{held.name}: fitted on the others, top-3 {np.mean(hits):.3f} {_span(hits)} n={len(hits)}")
    read_rows = [r for r in every if r.likelihoods is not None]
    if not read_rows:
        return
    sets = []
    for r in read_rows:
        keep = np.array(r.short)
        both = np.stack([(r.matrix @ weights)[keep], standard(np.array(r.likelihoods))], axis=1)
        sets.append((both, r.gold[keep]))
    scale, weight = softmax_weights(sets)
    print(f"LIKELIHOOD = {weight / scale:.2f}  (from {len(read_rows)} questions)")
    for value in (0.0, weight / scale):
        hits, first = rate(read_rows, weights, value), rate(read_rows, weights, value, 1)
        print(f"  with {value:.2f}: top-1 {np.mean(first):.3f} {_span(first)}, top-3 {np.mean(hits):.3f} {_span(hits)}")


def refusal(sources: Sequence[Source]) -> None:
    near = [r.refuse for s in sources for r in s.rows]
    far = [s.row(one).refuse for s in sources for o in sources if o is not s for one in o.asked[:150]]
    x = np.array([[parts[n] for n in REFUSE] for parts in near + far])
    y = np.array([1.0] * len(near) + [0.0] * len(far))
    for names, title in ((REFUSE, "with an encoder"), (("cover", "all"), "words alone")):
        columns = [REFUSE.index(n) for n in names]
        w, bias = logistic(x[:, columns], y)
        logits = x[:, columns] @ w + bias
        for share in (0.8, 0.85, 0.9, 0.95):
            cut = float(np.quantile(logits[y == 0], share))
            weights = ", ".join(f'"{n}": {v:.1f}' for n, v in zip(names, w, strict=True))
            print(
                f"{title}: {weights}; BIAS = {bias - cut:.1f} refuses {share:.2f} of n={len(far)} about other ", end=""
            )
            print(f"documents and {np.mean(logits[y == 1] < cut):.3f} of n={len(near)} about their own")


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__slots__}


def _span(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"[{low:.3f}, {high:.3f}]"


def main() -> None:
    from idiolect import models
    from idiolect.engine import Embedder, Engine
    from idiolect.retrieval.remember import Remembering

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--without", type=Path, help="a benchmark file whose articles are left out")
    parser.add_argument("--questions", type=int, default=400, help="of each file")
    parser.add_argument("--likelihood", type=int, default=0, help="questions of each file that the model reads")
    parser.add_argument("--depth", type=int, default=12)
    args = parser.parse_args()
    titles = frozenset(read(args.without).titles.values()) if args.without else frozenset()
    embedder = Remembering(Embedder(models.load(models.EMBEDDED_ENCODER, progress=False)))
    with tempfile.TemporaryDirectory() as home:
        sources = [
            Source(path, titles, Path(home) / str(i), embedder, args.questions) for i, path in enumerate(args.files)
        ]
        if args.likelihood:
            model = models.load(models.EMBEDDED_LM, progress=False)
            with Engine(model) as engine:
                for source in sources:
                    source.read_by(engine, model.tokenizer, args.likelihood, args.depth)
        ranking(sources)
        refusal(sources)


if __name__ == "__main__":
    main()
