"""The engine's laws on the real weights (float32), and its processors beside transformers'."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from idiolect.core.call import Sampling
from idiolect.engine import Embedder, Engine, EngineConfig, Scored
from idiolect.nn.batch import Batch

TEXTS = [
    "The three states of matter are",
    "def read_lines(path):\n    with open(path) as f:\n",
    "In 1969 the first people walked on the Moon. Their names were",
    "Once upon a time there was a baker who",
]
GREEDY = Sampling(temperature=0, max_tokens=12, logprobs=3, ignore_eos=True)


@pytest.fixture(scope="module")
def prompts(smol: Any) -> list[list[int]]:
    return [smol.tokenizer.encode(text) for text in TEXTS]


@pytest.fixture(scope="module")
def uncached(smol: Any, prompts: list[list[int]]) -> list[tuple[list[int], list[float]]]:
    """Greedy tokens and their log-probabilities with no cache: the whole sequence again for every token."""
    found = []
    with torch.inference_mode():
        for prompt in prompts:
            ids, logprobs = list(prompt), []
            for _ in range(12):
                row = smol(Batch.pack([ids], last_only=True))[0].log_softmax(-1)
                ids.append(int(row.argmax()))
                logprobs.append(float(row[ids[-1]]))
            found.append((ids[len(prompt) :], logprobs))
    return found


def engine(smol: Any, **changes: Any) -> Engine:
    return Engine(smol, EngineConfig(**{"memory_bytes": 128 << 20, "prefix_cache": False, **changes}))


def same(results: list[Any], want: list[tuple[list[int], list[float]]], tolerance: float = 1e-4) -> None:
    for result, (ids, logprobs) in zip(results, want, strict=True):
        assert result.ids == ids
        assert [t.logprob for t in result.tokens] == pytest.approx(logprobs, abs=tolerance)


def test_cached_equals_uncached(smol: Any, prompts: list[list[int]], uncached: Any) -> None:
    alone = engine(smol)
    same([alone.generate([p], GREEDY)[0] for p in prompts], uncached)


def test_batched_equals_alone(smol: Any, prompts: list[list[int]], uncached: Any) -> None:
    same(engine(smol).generate(prompts, GREEDY), uncached)


def test_chunked_equals_whole(smol: Any, prompts: list[list[int]], uncached: Any) -> None:
    same(engine(smol, max_batch=5, step_tokens=7, page_size=4).generate(prompts, GREEDY), uncached)


def test_preempted_equals_never_preempted(smol: Any, prompts: list[list[int]], uncached: Any) -> None:
    tight = engine(smol, page_size=4, pages=14)
    same(tight.generate(prompts, GREEDY), uncached)
    assert tight.stats().preemptions > 0


def test_copied_beginnings_equal_computed_ones(smol: Any, prompts: list[list[int]], uncached: Any) -> None:
    kept = engine(smol, prefix_cache=True)
    long = [*prompts[2], *prompts[3], *prompts[2]]
    kept.generate([long], GREEDY)
    repeat = kept.generate([long], GREEDY)[0]
    assert repeat.usage.cached_tokens == len(long) - 1
    same([repeat], [(r.ids, [t.logprob for t in r.tokens]) for r in engine(smol).generate([long], GREEDY)])


def test_a_seed_reproduces_in_mixed_company(smol: Any, prompts: list[list[int]]) -> None:
    warm = Sampling(temperature=0.8, top_p=0.95, max_tokens=12, seed=5)
    alone = engine(smol).generate([prompts[0]], warm)[0].ids
    others = [
        Sampling(temperature=0, max_tokens=5),
        Sampling(temperature=1.5, top_k=40, max_tokens=14, seed=1, repetition_penalty=1.2),
        Sampling(temperature=0.7, min_p=0.05, max_tokens=9, seed=5, logit_bias={11: -100.0}),
    ]
    for place in (0, 2):
        batch = prompts[1:]
        batch.insert(place, prompts[0])
        settings = [*others[:place], warm, *others[place:]]
        assert engine(smol, step_tokens=33).generate(batch, settings)[place].ids == alone


def test_scores_equal_the_generated_logprobs_and_the_packed_forward(
    smol: Any, prompts: list[list[int]], uncached: Any
) -> None:
    items = [Scored([*p, *ids], len(p)) for p, (ids, _) in zip(prompts, uncached, strict=True)]
    scores = engine(smol).score(items, top=2)
    for infos, (ids, logprobs) in zip(scores, uncached, strict=True):
        assert [t.logprob for t in infos] == pytest.approx(logprobs, abs=1e-4)
        assert [t.top[0][0] for t in infos] == ids  # greedy: the best alternative is the token itself
    with torch.inference_mode():  # packed == separate, without any cache
        packed = smol(Batch.pack([i.ids for i in items]))
        separate = torch.cat([smol(Batch.pack([i.ids])) for i in items])
    assert float((packed - separate).abs().max()) < 1e-3


async def test_streamed_equals_complete_on_text_of_many_bytes(smol: Any) -> None:
    ids = smol.tokenizer.encode("Repeat: 😀 naïve 日本語 😀 naïve 日本語 😀 naïve 日本語 😀")
    with engine(smol) as running:
        complete = running.generate([ids], GREEDY)[0]
        outputs = [o async for o in running.stream(ids, GREEDY)]
    assert "".join(o.text for o in outputs) == complete.text == smol.tokenizer.decode(complete.ids)
    assert complete.text == "".join(t.text for o in outputs for t in o.tokens)


@pytest.mark.parity
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7, "top_k": 17},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 0.9, "min_p": 0.07},
        {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.3},
    ],
)
def test_the_distribution_equals_transformers(smol: Any, prompts: list[list[int]], settings: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    from idiolect.engine.sampling import repetition_penalty, truncate

    ids = torch.tensor([[*prompts[2], *prompts[3]]])
    with torch.inference_mode():
        logits = smol(Batch.pack([ids[0]], last_only=True)).float()
    processors = transformers.LogitsProcessorList()
    if penalty := settings.get("repetition_penalty"):
        processors.append(transformers.RepetitionPenaltyLogitsProcessor(penalty))
    processors.append(transformers.TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        processors.append(transformers.TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        processors.append(transformers.TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        processors.append(transformers.MinPLogitsWarper(settings["min_p"]))
    theirs = processors(ids, logits.clone())[0].softmax(-1)
    seen = torch.zeros(1, logits.shape[1], dtype=torch.bool)
    seen[0, ids[0]] = True
    ours = repetition_penalty(logits, seen, torch.tensor([[settings.get("repetition_penalty", 1.0)]]))
    ours = truncate(
        ours / settings["temperature"],
        torch.tensor([settings.get("top_k", 0)]),
        torch.tensor([settings.get("top_p", 1.0)]),
        torch.tensor([settings.get("min_p", 0.0)]),
    )[0].softmax(-1)
    assert torch.equal(ours > 0, theirs > 0)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_embeddings_do_not_depend_on_their_company(minilm: Any) -> None:
    embed = Embedder(minilm, batch_tokens=64)
    texts = ["A cat.", "word " * 500, "", "Paris is the capital of France.", "日本語のテキスト", "A cat."] * 3
    together = embed(texts)
    assert together.shape == (18, 384) and together.dtype.name == "float32"
    assert abs((together**2).sum(1) - 1).max() < 1e-5
    for text, row in zip(texts[:6], together[:6], strict=True):
        assert abs(embed([text])[0] - row).max() < 1e-5
    assert abs(together[0] - together[5]).max() < 1e-6
    assert abs(embed(["word " * 254])[0] - together[1]).max() < 1e-5  # cut at the model's 256 with [CLS] and [SEP]
    assert embed([]).shape == (0, 384)
    assert Embedder(minilm).fingerprint == embed.fingerprint
