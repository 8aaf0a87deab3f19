"""Scores of a batch are those of each text alone, and options are consistent with whole texts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect import tune
from idiolect.core.errors import BadInput, ContextOverflow
from idiolect.engine.likelihood import Likelihoods, Question, stems, windows
from idiolect.nn import Batch
from tests.engine.tiny import tiny_model
from tests.tune.tiny import METHODS, shake, tiny

MODEL = tiny_model()
tokens = st.integers(1, 20)


def logprob(ids: tuple[int, ...], start: int) -> float:
    """The definition: one text, one forward, a sum."""
    with torch.inference_mode():
        table = MODEL(Batch.pack([list(ids)])).log_softmax(-1)
    return sum(float(table[p - 1, ids[p]]) for p in range(start, len(ids)))


@st.composite
def questions(draw: st.DrawFn) -> list[Question]:
    shared = draw(st.lists(tokens, min_size=0, max_size=70))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        context = (*(shared if draw(st.booleans()) else []), *draw(st.lists(tokens, min_size=1, max_size=8)))
        options = draw(st.lists(st.lists(tokens, min_size=1, max_size=5).map(tuple), min_size=1, max_size=4))
        found.append(Question(tuple((*context, *o) for o in options), (len(context),) * len(options)))
    return found


@settings(max_examples=25, deadline=None)
@given(questions(), st.sampled_from([16, 64, 1024]))
def test_a_batch_equals_each_alone(asked: list[Question], batch_tokens: int) -> None:
    found = dict(Likelihoods(MODEL, batch_tokens=batch_tokens).score(asked))
    assert sorted(found) == list(range(len(asked)))
    for question, scores in zip(asked, (found[i] for i in range(len(asked))), strict=True):
        for ids, start, score in zip(question.ids, question.start, scores, strict=True):
            assert abs(score.logprob - logprob(ids, start)) < 1e-4  # logits are read as float32
            assert score.tokens == len(ids) - start


def test_options_add_up_to_the_whole_text() -> None:
    """log p(context, option) - log p(context) is the option's score, and every continuation together is certain."""
    context = (40, 41, 42, 43)
    question = Question(tuple((*context, token) for token in range(96)), (4,) * 96)
    (_, scores), *rest = Likelihoods(MODEL).score([question])
    assert not rest
    assert abs(sum(torch.tensor(s.logprob).exp().item() for s in scores) - 1) < 1e-4
    assert sum(s.greedy for s in scores) == 1
    assert max(scores, key=lambda s: s.logprob).greedy
    for token in (1, 50):
        whole = logprob((*context, token), 1) - logprob(context, 1)
        assert abs(scores[token].logprob - whole) < 1e-4


def test_a_common_beginning_is_computed_once() -> None:
    shared = tuple(1 + i % 90 for i in range(120))
    asked = [Question(((*shared, i, 7, 8), (*shared, i, 9)), (121, 121)) for i in range(1, 11)]
    assert stems(asked) == [(120, list(range(10)))]
    scorer = Likelihoods(MODEL)
    list(scorer.score(asked))
    assert scorer.computed == 120 + 10 * (1 + 1)  # the shared ones, then each trunk's own token and one of a branch
    alone = Likelihoods(MODEL)
    list(alone.score(asked[:1]))
    assert alone.computed == 121 + 1


@given(st.integers(2, 60), st.integers(2, 20), st.integers(1, 19), st.integers(0, 3))
def test_windows_score_every_token_once(n: int, window: int, step: int, first: int) -> None:
    step = min(step, window - 1)
    seen = []
    for begin, end, scored in windows(n, window, step, max(first, 1)):
        assert end - begin <= window and scored > begin  # something stands before every scored token
        seen += range(scored, end)
    assert seen == list(range(max(first, 1), n))


def test_a_text_through_windows() -> None:
    ids = [1 + (7 * i) % 90 for i in range(50)]
    scorer = Likelihoods(MODEL, batch_tokens=40)
    whole = sum(part.logprob for part in scorer.roll(ids))
    assert abs(whole - logprob(tuple(ids), 1)) < 1e-3
    rolled = list(scorer.roll(ids, window=16, stride=6))
    want = sum(logprob(tuple(ids[begin:end]), scored - begin) for begin, end, scored in windows(50, 16, 6))
    assert abs(sum(part.logprob for part in rolled) - want) < 1e-3
    assert sum(part.tokens for part in rolled) == 49


def test_what_cannot_be_scored_is_said() -> None:
    for ids, start in (((1, 2), 0), ((1, 2), 2), ((1,), 1)):
        try:
            Question((ids,), (start,))
        except BadInput as error:
            assert "scored" in error.message
        else:
            raise AssertionError("accepted")
    try:
        list(Likelihoods(MODEL).score([Question((tuple([1] * 300),), (299,))]))
    except ContextOverflow as error:
        assert "299 tokens" in error.message
    else:
        raise AssertionError("accepted")


@pytest.mark.parametrize(
    ("kind", "name"), [*(("llama", n) for n in METHODS), *(("gpt2", n) for n in ("lora-all", "prefix", "prompt"))]
)
def test_scores_with_any_adapter_are_those_of_the_module_that_has_it(kind: str, name: str) -> None:
    """Options, a shared beginning, long texts: as one forward of one text through the mounted adapter."""
    model = tiny(kind=kind)
    mounted = shake(tune.attach(model, METHODS[name]), scale=0.3)
    mounted.model.requires_grad_(False)
    shared = tuple(3 + i % 90 for i in range(52))
    asked = [Question(((*shared, i, 7, 8), (*shared, i, 9)), (53, 53)) for i in range(3, 6)]
    asked += [Question(((5, 6, 7), (5, 8, 9, 10), (5, 6, 11)), (1, 1, 2))]

    def alone(ids: Sequence[int], start: int) -> float:
        with torch.no_grad():
            table = model(Batch.pack([list(ids)])).log_softmax(-1)
        return sum(float(table[p - 1, ids[p]]) for p in range(start, len(ids)))

    scorer = Likelihoods(model, batch_tokens=48)
    for index, scores in scorer.score(asked):
        for ids, start, score in zip(asked[index].ids, asked[index].start, scores, strict=True):
            assert abs(score.logprob - alone(ids, start)) < 1e-4, (index, ids)
    assert stems(asked)[0][0] >= 52  # the beginning was computed apart
    rolled = list(scorer.roll(shared, window=24, stride=10))
    want = sum(alone(shared[begin:end], scored - begin) for begin, end, scored in windows(52, 24, 10))
    assert abs(sum(part.logprob for part in rolled) - want) < 1e-3
    mounted.detach()
    plain = dict(Likelihoods(model).score(asked))[3]
    own = dict(scorer.score(asked))[3]
    assert [s.logprob for s in plain] == [s.logprob for s in own]  # nothing of the adapter stays behind


def test_virtual_tokens_take_room() -> None:
    model = tiny()
    mounted = tune.attach(model, METHODS["prefix"])
    assert model.room == model.context - 5
    text = tuple(3 + i % 90 for i in range(model.context + 1))
    with pytest.raises(ContextOverflow, match=f"holds {model.room}"):
        list(Likelihoods(model).score([Question((text,), (len(text) - 1,))]))
    assert sum(part.tokens for part in Likelihoods(model).roll(text)) == len(text) - 1
    mounted.detach()
    assert model.room == model.context
