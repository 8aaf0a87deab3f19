"""Log-likelihoods of options and of long texts equal transformers', for every family of decoders."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from idiolect import models
from idiolect.engine.likelihood import Likelihoods, Question
from tests.models import tiny

pytest.importorskip("transformers")
pytestmark = pytest.mark.parity


@pytest.fixture(scope="module", params=tiny.CAUSAL)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    theirs = tiny.make(request.param, folder)
    ours = models.load(folder, dtype="float32", progress=False)
    return theirs, ours


def ids(n: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, tiny.VOCAB, (n,), generator=torch.Generator().manual_seed(seed)).tolist())


def test_options(pair: Any) -> None:
    """Contexts alone and after a shared beginning of 50 tokens. Dynamic rope stops at its trained length, 16, which the
    options of a question pass together and none does alone."""
    theirs, ours = pair
    shared = ids(50, 9)
    contexts = [ids(4, 0), ids(20, 1), *((*shared, *ids(3, seed)) for seed in (2, 3, 4))]
    options = [ids(1, 5), ids(4, 6), ids(6, 7)]
    contexts = [c for c in contexts if len(c) + 5 <= ours.context]
    asked = [Question(tuple((*c, *o) for o in options), (len(c),) * 3) for c in contexts]
    found = dict(Likelihoods(ours).score(asked))
    for i, question in enumerate(asked):
        for text, start, score in zip(question.ids, question.start, found[i], strict=True):
            with torch.no_grad():
                table = theirs(torch.tensor([text])).logits[0].log_softmax(-1)
            want = sum(float(table[p - 1, text[p]]) for p in range(start, len(text)))
            assert abs(score.logprob - want) < 1e-3, (i, text[start:])


def test_a_long_text_through_the_script_of_the_documentation(pair: Any) -> None:
    """Its mean weighs each window by its tokens less one; ours counts every token once."""
    theirs, ours = pair
    text, window, stride = ids(120, 8), min(32, ours.context), 8
    every = torch.tensor([text])
    total, count, exact, before = 0.0, 0, 0.0, 0
    for begin in range(0, len(text), stride):
        end = min(begin + window, len(text))
        target = every[:, begin:end].clone()
        target[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = float(theirs(every[:, begin:end], labels=target).loss)
        scored = int((target[:, 1:] != -100).sum())
        exact += loss * scored
        total += loss * (int((target != -100).sum()) - 1)
        count += int((target != -100).sum()) - 1
        before = end
        if end == len(text):
            break
    found = list(Likelihoods(ours).roll(text, window=window, stride=stride))
    mine = sum(part.logprob for part in found)
    assert sum(part.tokens for part in found) == len(text) - 1
    assert abs(mine + exact) < 5e-3  # the sum of every token's loss
    assert math.exp(-mine / (len(text) - 1)) == pytest.approx(math.exp(total / count), rel=0.02)
