"""The Chat tab against the real server, the embedded model and a folder of documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from idiolect.core.store import Store
from tests.web.pages import QUESTION, Server, ask, choose, ended

pytestmark = pytest.mark.browser


@pytest.fixture
def page(open_page: Callable[..., Any], server: Server) -> Any:
    opened = open_page(server.url)
    opened.wait_for_selector(".hero code")
    return opened


def conversation(page: Any, server: Server) -> Any:
    return server.get(f"api/conversations/{re.search('#/chat/([0-9a-f]+)', page.url).group(1)}")


def test_an_answer_cites_and_a_citation_opens_at_its_span(page: Any, server: Server) -> None:
    ask(page, QUESTION)
    answer = page.locator("article.answer")
    chips = answer.locator("button.cite")
    assert chips.count() >= 1
    assert "Quoted from your documents" in answer.locator(".mode").inner_text()
    answer.locator(".mode summary").click()
    assert server.get("api/info")["models"][0]["why"] in answer.locator(".mode").inner_text()
    assert "move into the next year" in answer.inner_text()
    cited = {c["number"]: c for c in conversation(page, server)["nodes"][-1]["citations"]}
    for i in range(chips.count()):
        citation = cited[int(chips.nth(i).inner_text())]
        chips.nth(i).click()
        page.wait_for_selector("dialog.source mark")
        source = server.get(f"api/documents/source?path={citation['document']}")["text"]
        marked = "".join(page.locator("dialog.source mark").all_text_contents())
        assert marked == source[slice(*citation["span"])] == citation["quote"]
        assert "".join(page.locator("dialog.source .block").all_text_contents()) == source
        box = page.locator("dialog.source mark").first.bounding_box()
        assert 0 < box["y"] < 800
        for heading in citation["heading"]:
            assert heading in page.locator("dialog.source header").inner_text()
    assert "doc=" in page.url
    shared = page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.source[open]", state="detached")
    page.goto("about:blank")
    page.goto(shared)  # the address alone opens the same passage
    page.wait_for_selector("dialog.source mark")
    assert "".join(page.locator("dialog.source mark").all_text_contents()) == marked


def test_stop_keeps_what_was_said(page: Any, server: Server) -> None:
    choose(page, f"{server.model}:plain")
    ask(page, "Write a very long story about a zebra that counts to one thousand.", wait=False)
    body = page.locator("article.answer .prose")
    page.wait_for_selector("article.answer .prose p")
    page.keyboard.press("Escape")
    ended(page)
    page.get_by_text("Stopped.").wait_for()
    said = body.inner_text()
    assert said.strip()
    page.wait_for_selector("article.answer a[aria-label='Trace of this answer']")
    page.wait_for_timeout(3_000)  # the ids of the stopped turn are found
    assert body.inner_text() == said
    assert page.locator("button.send").get_attribute("aria-label") == "Send"
    page.reload()
    page.wait_for_selector("article.answer .prose p")
    assert body.inner_text().startswith(said[: len(said) // 2])
    choose(page, server.model)
    ask(page, QUESTION)  # the conversation goes on
    assert [n["role"] for n in conversation(page, server)["nodes"]] == ["user", "assistant"] * 2


def test_regenerate_and_edit_make_branches_that_outlive_a_reload(page: Any, server: Server) -> None:
    ask(page, QUESTION)
    page.click("article.answer button[aria-label=Regenerate]")
    page.wait_for_selector("article.answer .at")
    ended(page)
    answer, question = page.locator("article.answer"), page.locator("article.question")
    assert answer.locator(".at").inner_text() == "2/2"
    answer.get_by_label("Previous version").click()
    assert answer.locator(".at").inner_text() == "1/2"
    question.hover()
    question.get_by_label("Edit and ask again").click()
    question.locator("textarea").fill("How many kilometres an hour does a zebra run?")
    question.locator("textarea").press("Enter")
    page.wait_for_selector("article.question .at")
    ended(page)
    assert question.locator(".at").inner_text() == "2/2"
    assert "sixty-five kilometres" in answer.inner_text()
    nodes = conversation(page, server)["nodes"]
    roots = [n for n in nodes if n["parent"] is None]
    assert len(roots) == 2
    assert [sum(n["parent"] == r["id"] for n in nodes) for r in roots] == [2, 1]
    page.reload()
    page.wait_for_selector("article.question .at")
    assert "zebra" in question.locator(".ask").inner_text()
    question.get_by_label("Previous version").click()
    assert question.locator(".ask").inner_text() == QUESTION
    assert answer.locator(".at").inner_text() == "1/2"  # the branch that was chosen, not the newest
    answer.get_by_label("Next version").click()
    assert answer.locator(".at").inner_text() == "2/2"


def test_feedback_is_in_the_store(page: Any, server: Server) -> None:
    ask(page, QUESTION)
    answer = page.locator("article.answer")
    answer.get_by_label("Bad answer").click()
    page.wait_for_selector("dialog.dialog #reason")
    page.get_by_role("button", name="Incomplete").click()
    page.fill("#correction", "They move on, at most ten of them <b>and lapse</b>.")
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("dialog.dialog", state="detached")
    node = conversation(page, server)["nodes"][-1]
    assert node["feedback"]["value"] == -1
    with Store.open(server.get("api/info")["store"]) as store:
        rows = [r.payload for r in store.events(kind="feedback", trace=node["trace"])]
    assert [r["value"] for r in rows] == [-1, -1]
    assert rows[-1]["reason"] == "Incomplete"
    assert rows[-1]["correction"] == "They move on, at most ten of them <b>and lapse</b>."
    page.reload()
    page.wait_for_selector("article.answer [aria-label='Bad answer'][aria-pressed=true]")


def test_nothing_relevant_and_errors_are_said_in_place(page: Any, server: Server) -> None:
    ask(page, "Who won the chess olympiad in Baku?")
    page.get_by_text("Nothing relevant found").wait_for()
    choose(page, f"{server.model}:plain")
    ask(page, "word " * 12_000)
    failure = page.locator("article.answer .failure")
    failure.wait_for()
    assert "tokens" in failure.inner_text()
    assert failure.get_by_role("button", name="Ask again", exact=True).is_visible()
    choose(page, server.model)
    page.locator("article.question").last.get_by_label("Edit and ask again").click()
    page.locator("article.question textarea").fill(QUESTION)
    page.locator("article.question textarea").press("Enter")
    page.wait_for_selector("article.answer button.cite")


def test_settings_travel_and_stay(page: Any, server: Server) -> None:
    page.click("button[aria-controls=settings]")
    page.check("input[name=mode][value=quote]")
    page.locator("#set-length").press("ArrowRight")
    page.locator("#set-expertise").press("End")
    page.keyboard.press("Escape")
    assert page.locator("button[aria-controls=settings]").inner_text() == "Quote · Long · Expert"
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, QUESTION)
    wishes = sent.value.post_data_json["idiolect"]
    assert {k: wishes[k] for k in ("mode", "length", "expertise")} == {"mode": "quote", "length": 4, "expertise": 5}
    page.reload()
    assert page.locator("button[aria-controls=settings]").inner_text() == "Quote · Long · Expert"
