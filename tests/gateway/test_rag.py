"""The RAG program: quotes are verbatim and cited, generated sentences are checked, irrelevance is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.call import (
    Cancel,
    Cited,
    Ctx,
    Delta,
    Finished,
    Message,
    Mode,
    Note,
    Prompted,
    Retrieved,
    Sampling,
    Started,
    fold,
)
from idiolect.core.errors import BadInput, Cancelled
from idiolect.engine import Embedder, Engine, EngineConfig
from idiolect.gateway.local import LocalModel
from idiolect.gateway.rag import Rag
from tests.gateway.rag_parts import Scripted, ask, documents, of


@pytest.fixture(scope="module")
def local(smol: Any) -> Iterator[LocalModel]:
    engine = Engine(smol, EngineConfig())
    engine.start()
    yield LocalModel(smol, engine)
    engine.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, minilm: Any) -> Any:
    return documents(tmp_path_factory.mktemp("rag"), Embedder(minilm))


# ------------------------------------------------------------------------------------------------------- quote


async def test_quotes_are_verbatim_numbered_scored_and_the_same_every_time(library: Any, local: LocalModel) -> None:
    rag = Rag(library, local, mode="quote")
    done = await fold(rag(ask("Who built the lighthouse?"), Ctx()))
    again = await fold(rag(ask("Who built the lighthouse?"), Ctx()))
    assert done.text == again.text
    assert "Tamsin Vale" in done.citations[0].quote
    assert 1 <= len(done.citations) <= 3
    assert done.text == "\n\n".join(f"{c.quote} [{c.number}]" for c in done.citations)
    assert [c.number for c in done.citations] == list(range(1, len(done.citations) + 1))
    for cited in done.citations:
        text = library.document(cited.passage.document).text
        assert text[cited.span[0] : cited.span[1]] == cited.quote
        assert {"near", "words", "cover", "lm", "quote"} <= set(cited.passage.scores)
    tokens = done.choices[0].tokens
    assert b"".join(t.raw for t in tokens).decode() == done.text
    assert all(t.logprob is not None and t.logprob <= 0 and len(t.top) == 5 for t in tokens)
    answer = [p for p in of(done.events, Prompted) if p.purpose == "answer"]
    scored = [p for p in of(done.events, Prompted) if p.purpose == "score"]
    assert len(answer) == 1 and len(scored) >= 3  # every reading of the model is shown
    assert done.usage.prompt_tokens == len(answer[0].ids)
    assert done.usage.completion_tokens == len(tokens)


async def test_the_stream_keeps_its_order_and_every_choice_ends_once(library: Any, local: LocalModel) -> None:
    done = await fold(Rag(library, local, mode="quote")(ask("Who built the bridge?", n=2), Ctx()))
    kinds = [type(e) for e in done.events]
    assert kinds[0] is Started
    assert kinds.index(Retrieved) < kinds.index(Mode) < kinds.index(Delta) < kinds.index(Cited) < kinds.index(Finished)
    assert [e.index for e in of(done.events, Finished)] == [0, 1]
    assert done.choices[0].text == done.choices[1].text
    assert kinds.count(Mode) == kinds.count(Started) == 1


async def test_length_bounds_the_number_of_quotes(library: Any, local: LocalModel) -> None:
    rag = Rag(library, local, mode="quote")
    shown = [len((await fold(rag(ask("Who built the bridge?", length=n), Ctx()))).citations) for n in (1, 2, 3, 5)]
    assert shown[0] == 1 and shown[3] == 5  # who asks for much gets it
    assert 1 <= shown[1] <= 2 and shown[1] <= shown[2] <= 3


async def test_max_tokens_cuts_the_quote_and_says_so(library: Any, local: LocalModel) -> None:
    call = ask("Who built the lighthouse?")
    full = await fold(Rag(library, local, mode="quote")(call, Ctx()))
    short = type(call)(call.model, call.messages, sampling=Sampling(max_tokens=5))
    done = await fold(Rag(library, local, mode="quote")(short, Ctx()))
    assert done.choices[0].reason == "length"
    assert len(done.choices[0].tokens) == done.usage.completion_tokens == 5
    assert full.text.startswith(done.text)


async def test_without_encoder_and_engine_it_still_quotes_and_says_what_is_missing(tmp_path: Path) -> None:
    rag = Rag(documents(tmp_path), Scripted("never said"), mode="quote")
    done = await fold(rag(ask("Who built the lighthouse at Cape Orrin?"), Ctx()))
    assert "Tamsin Vale" in done.citations[0].quote
    assert {n.code for n in of(done.events, Note)} == {"no_encoder", "no_likelihood"}
    assert rag.handler.calls == []


async def test_a_cancelled_question_stops(library: Any, local: LocalModel) -> None:
    ctx = Ctx(cancel=Cancel())
    with pytest.raises(Cancelled):
        async for event in Rag(library, local, mode="quote")(ask("Who built the lighthouse?"), ctx):
            if isinstance(event, Retrieved):
                ctx.cancel.cancel()
    assert local.engine.stats().running == 0


async def test_the_tiny_model_is_measured_once_and_quotes(library: Any, local: LocalModel, cache: Path) -> None:
    rag = await asyncio.to_thread(Rag, library, local)
    assert rag.default_mode == "quote"
    assert "of 20 reading tasks" in rag.why
    before = local.engine.stats().tokens_prefilled
    assert Rag(library, local).why == rag.why
    assert local.engine.stats().tokens_prefilled == before
    done = await fold(rag(ask("Who keeps goats?"), Ctx()))
    assert done.mode is not None and done.mode.mode == "quote" and done.mode.why == rag.why


# ----------------------------------------------------------------------------------------------------- refusal


@pytest.mark.parametrize("mode", ["quote", "generate"])
async def test_an_irrelevant_question_is_refused_without_a_model_call(library: Any, mode: str) -> None:
    model = Scripted("never said")
    done = await fold(Rag(library, model, mode=mode)(ask("Which vitamin deficiency causes scurvy?", n=2), Ctx()))
    assert done.mode is not None and done.mode.mode == "refuse"
    assert "relevance" in done.mode.why
    assert [c.reason for c in done.choices] == ["refused", "refused"]
    assert done.choices[0].text == done.choices[1].text != ""
    assert done.citations == () and model.calls == []


async def test_refusal_can_be_turned_off(library: Any) -> None:
    done = await fold(Rag(library, Scripted("x"), mode="quote", refuse=False)(ask("Bees and goats, or a tax?"), Ctx()))
    assert done.mode is not None and done.mode.mode == "quote"


async def test_an_empty_library_is_refused(tmp_path: Path) -> None:
    from idiolect.retrieval import Library

    (tmp_path / "docs").mkdir()
    library = Library.open(tmp_path / "docs", state=tmp_path / "index")
    done = await fold(Rag(library, Scripted("x"), mode="generate")(ask("Who built the lighthouse?"), Ctx()))
    assert done.mode is not None and done.mode.mode == "refuse"
    assert "no documents" in done.text


# ---------------------------------------------------------------------------------------------------- generate

ANSWER = (
    "The lighthouse at Cape Orrin was built by Tamsin Vale in 1911. [{n}] It stands 99 metres above the sea [{n}]. "
    "Penguins can fly. The lamp was made in Lint. [77]"
)


async def test_generated_sentences_are_checked_against_what_they_cite(library: Any) -> None:
    number = 1 + next(i for i, p in enumerate(library.search("Who built the lighthouse?", 10)) if "Tamsin" in p.text)
    model = Scripted(ANSWER.format(n=number))
    done = await fold(Rag(library, model, mode="generate")(ask("Who built the lighthouse?"), Ctx()))
    assert done.text == model.replies[0]
    (cited,) = done.citations
    assert cited.number == number and cited.supported is False
    text = library.document(cited.passage.document).text
    assert text[cited.span[0] : cited.span[1]] == cited.quote
    wrong = [n for n in of(done.events, Note) if n.code == "unsupported"]
    marked = [done.text[n.data["span"][0] : n.data["span"][1]] for n in wrong]
    assert [m.split()[0] for m in marked] == ["It", "Penguins"]
    assert wrong[0].data["missing"] == ["99"]
    assert [n.data["sentence"] for n in of(done.events, Note) if n.code == "bad_citation"] == [
        "The lamp was made in Lint. [77]"
    ]
    assert isinstance(done.events[-1], Finished)
    (call,) = model.calls
    assert f"[{number}] " in call.messages[-1].content and "Tamsin Vale" in call.messages[-1].content
    assert "mode" not in call.options


async def test_a_supported_answer_is_not_marked(library: Any) -> None:
    question = "Who built the bridge at Kelder?"
    number = 1 + next(i for i, p in enumerate(library.search(question, 10)) if "Ruan" in p.text)
    model = Scripted(f"The bridge at Kelder was built by Ruan Moss [{number}].")
    done = await fold(Rag(library, model, mode="generate")(ask(question, n=2), Ctx()))
    assert [c.supported for c in done.citations] == [True]
    assert not [n for n in of(done.events, Note) if n.code in ("unsupported", "bad_citation", "uncited")]
    assert [c.reason for c in done.choices] == ["stop", "stop"]


async def test_an_answer_without_marks_is_said_to_cite_nothing(library: Any) -> None:
    model = Scripted("The bridge at Kelder was built by Ruan Moss.")
    done = await fold(Rag(library, model, mode="generate")(ask("Who built the bridge at Kelder?"), Ctx()))
    assert [n.code for n in of(done.events, Note)] == ["uncited"]
    assert done.citations == ()


async def test_sliders_reach_the_prompt(library: Any) -> None:
    seen = set()
    for length, expertise in ((1, 1), (3, 3), (5, 5)):
        model = Scripted("x")
        await fold(
            Rag(library, model, mode="generate")(
                ask("Who built the bridge?", length=length, expertise=expertise), Ctx()
            )
        )
        (call,) = model.calls
        seen.add((call.messages[0].content, call.sampling.max_tokens))
    assert len({text for text, _ in seen}) == len({limit for _, limit in seen}) == 3


async def test_the_mode_can_be_chosen_for_each_request(library: Any) -> None:
    rag = Rag(library, Scripted("x"))
    assert rag.default_mode == "generate"  # a model that runs elsewhere
    for wish, mode in (("quote", "quote"), ("generate", "generate"), ("auto", "generate")):
        done = await fold(rag(ask("Who built the bridge?", mode=wish), Ctx()))
        assert done.mode is not None and done.mode.mode == mode


# ---------------------------------------------------------------------------------------------- conversation


async def test_a_follow_up_is_searched_with_the_words_of_the_turns_before(library: Any, local: LocalModel) -> None:
    call = ask("Who built the bridge at Kelder?", "Ruan Moss. [1]", "How many arches does it have?")
    done = await fold(Rag(library, local, mode="quote")(call, Ctx()))
    (retrieved,) = of(done.events, Retrieved)
    assert "Kelder" in retrieved.query
    assert "three arches" in done.citations[0].quote
    assert [n.code for n in of(done.events, Note)] == ["rewritten"]


async def test_a_capable_model_rewrites_and_its_failure_does_no_harm(library: Any) -> None:
    call = ask("Who built the bridge at Kelder?", "Ruan Moss. [1]", "How many arches does it have?")
    model = Scripted("How many arches does the bridge at Kelder have?", "Three. [1]")
    done = await fold(Rag(library, model, mode="generate")(call, Ctx()))
    assert of(done.events, Retrieved)[0].query == "How many arches does the bridge at Kelder have?"
    assert [p.purpose for p in of(done.events, Prompted)] == ["rewrite", "answer"]
    assert done.text == "Three. [1]"
    assert Message("assistant", "Ruan Moss.") in model.calls[1].messages  # old marks would point at other passages

    broken = Scripted("", "Three. [1]", fail=True)
    done = await fold(Rag(library, broken, mode="generate")(call, Ctx()))
    assert "Kelder" in of(done.events, Retrieved)[0].query
    assert "rewrite_failed" in [n.code for n in of(done.events, Note)]


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "options", [{"mode": "guess"}, {"length": 0}, {"length": 6}, {"expertise": "high"}, {"length": True}]
)
async def test_bad_options_are_refused(library: Any, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        await fold(Rag(library, Scripted("x"))(ask("Who?", **options), Ctx()))
    assert caught.value.param == next(iter(options))


async def test_a_raw_prompt_and_a_silent_user_are_refused(library: Any) -> None:
    rag = Rag(library, Scripted("x"))
    call = ask("Who?")
    for wrong in (type(call)("m", prompt="Who?"), type(call)("m", (Message("system", "Be kind."),))):
        with pytest.raises(BadInput):
            await fold(rag(wrong, Ctx()))


def test_bad_configuration_is_refused(library: Any) -> None:
    for config in ({"mode": "guess"}, {"passages": 0}, {"pasages": 3}):
        with pytest.raises(BadInput):
            Rag(library, Scripted("x"), **config)
