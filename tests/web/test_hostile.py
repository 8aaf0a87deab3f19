"""What a model says and how it fails is not to be trusted either: a real server around programs that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.errors import Unavailable
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.keys import Keys
from idiolect.web import STATIC
from tests.gateway.conftest import Running
from tests.gateway.programs import Speaker
from tests.web.pages import ask, choose, ended

pytestmark = pytest.mark.browser
HOSTILE = (
    "<script>window.pwned = 1</script>\n\n",
    '<img src=x onerror="window.pwned=1"> and ![x](http://elsewhere.example/p.png)\n\n',
    "[click](javascript:window.pwned=1) [1] [1]: <svg onload=pwned=1>\n\n",
    "```<script>\nwindow.pwned = 1\n```\n\n",
    "| <style>*{display:none}</style> |\n|---|\n| <iframe src='javascript:pwned=1'> |\n",
)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    running: list[Running] = []

    def start(**http: Any) -> str:
        broke = Unavailable("it <b>broke</b>", hint="mend it")
        served = {
            "hostile": Speaker(HOSTILE),
            "breaks": Speaker(("One. ", "Two. ", "Three."), error=broke, fail_after=2),
            "refuses": Speaker((), error=broke),
            "silent": Speaker(("late",), pace=600),
            "slow": Speaker(tuple(f"word{i} " for i in range(200)), pace=0.005),
        }
        config = AppConfig(store=str(tmp_path / f"store{len(running)}"), http=HttpConfig(port=0, **http))
        running.append(Running(App(config, {id: Served(id, h, "model") for id, h in served.items()}), STATIC))
        return f"{running[-1].url}/"

    yield start
    for one in running:
        one.stop()


def test_what_a_model_says_stays_text(serve: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(serve())
    page.get_by_text("No documents yet").wait_for()
    choose(page, "hostile")
    ask(page, "<img src=x onerror=window.pwned=1>")
    said = page.locator("article.answer").inner_text()
    assert "<script>window.pwned = 1</script>" in said
    assert '<img src=x onerror="window.pwned=1">' in said
    page.click("article.answer a[aria-label='Trace of this answer']")
    page.wait_for_selector(".made .token")
    page.reload()
    page.wait_for_selector(".made .token")
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("img[src=x], main script, main iframe, main svg[onload], a[href^='javascript:']").count() == 0


def test_an_answer_that_breaks_keeps_its_beginning(serve: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(serve())
    page.get_by_text("No documents yet").wait_for()
    choose(page, "breaks")
    ask(page, "Count.")
    answer = page.locator("article.answer")
    assert "One. Two." in answer.inner_text()
    assert "it <b>broke</b> (mend it)" in answer.locator(".failure").inner_text()
    choose(page, "slow")
    answer.get_by_role("button", name="Ask again", exact=True).click()
    page.get_by_text("word3 ").wait_for()
    page.keyboard.press("Escape")
    ended(page)


@pytest.mark.parametrize("first", ["refuses", "silent"])
def test_a_conversation_goes_on_after_a_question_without_an_answer(
    first: str, serve: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    """The server keeps the question alone; neither the next request nor a reload may trip over the missing answer."""
    page = open_page(serve())
    page.get_by_text("No documents yet").wait_for()
    choose(page, first)
    ask(page, "Unanswered.", wait=False)
    if first == "silent":
        page.wait_for_selector(".thinking")
        page.wait_for_timeout(500)  # the question is in the store
        page.keyboard.press("Escape")
        page.get_by_text("Stopped.").wait_for()
    ended(page)
    choose(page, "slow")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.fill("#question", "And now?")
        page.press("#question", "Enter")
    page.get_by_text("word199").wait_for()
    assert [m["content"] for m in asked.value.post_data_json["messages"]] == ["And now?"]
    page.reload()
    page.get_by_text("word199").wait_for()
    assert page.locator("article.question .ask").all_inner_texts() == ["Unanswered.", "And now?"]
    choose(page, first)
    ask(page, "Again unanswered.", wait=False)
    page.wait_for_selector(".thinking, .failure")
    page.wait_for_timeout(500)
    page.reload()
    page.get_by_text("There is no answer to this question").wait_for()
    choose(page, "slow")
    page.get_by_role("button", name="Ask again", exact=True).click()
    page.get_by_text("word199").nth(1).wait_for()


def test_an_answer_goes_on_while_other_things_are_looked_at(
    serve: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(serve())
    page.get_by_text("No documents yet").wait_for()
    choose(page, "slow")
    ask(page, "Go on.", wait=False)
    page.get_by_text("word3 ").wait_for()
    page.get_by_role("tab", name="Documents").click()
    page.get_by_text("No documents yet").last.wait_for()
    page.get_by_role("tab", name="Chat").click()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_text("No documents yet").first.wait_for()
    page.go_back()
    ended(page)
    assert page.locator("article.answer .prose").inner_text().split()[-1] == "word199"


def test_a_growing_answer_does_not_redraw_what_stands(serve: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(serve())
    page.get_by_text("No documents yet").wait_for()
    choose(page, "slow")
    ask(page, "First.")
    page.evaluate("""() => {
      window.touched = 0;
      const seen = new MutationObserver((all) => (window.touched += all.length));
      seen.observe(document.querySelector("article.answer .prose"), { childList: true, subtree: true });
    }""")
    ask(page, "Second.")
    assert page.locator("article.answer").count() == 2
    assert page.evaluate("() => window.touched") == 0


def test_a_key_is_asked_for_and_used(serve: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    _, secret = Keys(keys).create("test")
    page = open_page(serve(keys=str(keys)))
    page.wait_for_selector("dialog #key")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.locator("dialog #key").wait_for()
    page.fill("#key", secret)
    page.keyboard.press("Enter")
    page.get_by_text("No documents yet").wait_for()
    choose(page, "hostile")
    ask(page, "Anything.")
    assert "pwned" in page.locator("article.answer .prose").inner_text()
