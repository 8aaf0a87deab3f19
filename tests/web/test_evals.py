"""The Evals tab over a store with real runs: figures, answers side by side, filters, and the blind arena."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Started, Usage
from idiolect.core.store import Store
from idiolect.evals import arena, tasks
from idiolect.evals.runs import run
from idiolect.evals.systems import HandlerSystem
from idiolect.evals.types import Choose, Chosen, Kind, Reply, Request
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.web import STATIC
from tests.gateway.conftest import Running

pytestmark = pytest.mark.browser

PLUS = {f"{a} + {b} =": str(a + b) for a in (1, 2, 3) for b in (4, 5)}
EVIL = "<img src=x onerror=window.pwned=1>"


def writer(answers: Mapping[str, str]) -> Any:
    """A handler that looks its answers up."""

    async def handler(call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        yield Started("call", call.model, 0.0)
        yield Delta(answers.get(str(call.prompt), "no idea"))
        yield Finished("stop", Usage(3, 1))

    return handler


class Chooser:
    """Finds one fixed option the likeliest."""

    kinds: frozenset[Kind] = frozenset({"choose"})

    def __init__(self, name: str, best: int) -> None:
        self.name, self.fingerprint, self.best = name, name, best

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for i, request in enumerate(requests):
            assert isinstance(request, Choose)
            n = len(request.options)
            scores = tuple(-1.0 if k == self.best else -2.0 - k for k in range(n))
            yield i, Chosen(scores, (1,) * n, tuple(len(o) for o in request.options), (False,) * n)


def seed(store: Store, folder: Path) -> None:
    rows = [{"ask": ask, "right": right} for ask, right in PLUS.items()]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "sums.yaml").write_text(
        "task: sums\nkind: generate\ndata: {path: sums.jsonl}\nprompt: '{{ ask }}'\ntarget: right\nmetrics: [same]\n"
        "sampling: {max_tokens: 4, temperature: 0.0}\n"
    )
    (folder / "words.yaml").write_text(
        "task: words\nkind: choose\ndata: {path: sums.jsonl}\nprompt: '{{ ask }}'\noptions: '[right, \"many\"]'\n"
        "target: '0'\n"
    )
    sums, words = tasks.load(folder / "sums.yaml"), tasks.load(folder / "words.yaml")
    half = {ask: right if i % 2 else EVIL for i, (ask, right) in enumerate(PLUS.items())}
    for name, answers in (("careful", PLUS), ("hasty", half)):
        run(HandlerSystem(writer(answers), name, name), sums, store)
    for name, best in (("first", 0), ("second", 1)):
        run(Chooser(name, best), words, store)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("evals")
    path = folder / "store.sqlite"

    def fill() -> None:  # Playwright's loop runs in this thread, and `run` wants one of its own
        with Store.open(path) as store:
            seed(store, folder)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    app = App(AppConfig(store=str(path), http=HttpConfig(port=0)), {"m": Served("m", writer({}), "model", 100)})
    running = Running(app, STATIC)
    yield running
    running.stop()


@pytest.fixture
def page(open_page: Callable[..., Any], served: Running) -> Any:
    return visit(open_page(f"{served.url}/"), served, "")


def visit(page: Any, served: Running, place: str, ready: str = ".runs li") -> Any:
    page.goto(f"{served.url}/#/evals/{place}")
    page.wait_for_selector(ready)
    return page


def test_runs_show_figures_with_intervals(page: Any, served: Running) -> None:
    assert page.get_by_role("tab", name="Evals").get_attribute("aria-selected") == "true"
    assert page.locator(".runs li").count() == 4
    hasty = page.locator(".runs li", has_text="hasty").inner_text()
    known = next(r for r in served.http.get("/api/evals/runs").json() if r["system"] == "hasty")
    figure = known["figures"]["same"]
    assert "50.0 %" in hasty and f"{100 * figure['low']:.1f} %" in hasty and "n = 6" in hasty
    page.locator("a.system", has_text="hasty").click()
    page.wait_for_selector(".item-list li")
    assert page.locator(".item-list li").count() == 6
    assert page.locator(".answer-box.bad").count() == 3
    assert page.evaluate("window.pwned") is None and EVIL in page.locator(".item-list").inner_text()


def test_side_by_side_with_filters_by_keyboard(page: Any) -> None:
    for name in ("careful", "hasty"):
        box = page.get_by_label(f"Compare {name} on sums")
        box.focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Side by side").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".versus")
    assert "+50.0 %" in page.locator(".gap").inner_text()
    assert "3 items differ: too few to say which is better" in page.locator(".gap").inner_text()
    pills = dict(zip(["all", "a", "b", "right", "wrong"], page.locator(".pill span").all_inner_texts(), strict=True))
    assert pills == {"all": "6", "a": "3", "b": "0", "right": "3", "wrong": "0"}
    page.get_by_role("button", name="A right, B wrong").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".pill[data-show=a][aria-pressed=true]")
    assert page.locator(".item-list > li").count() == 3
    for text in page.locator(".item-list > li").all_inner_texts():
        assert "right" in text and "wrong" in text and EVIL in text
    address = page.url
    page.go_back()
    page.wait_for_selector(".runs li")
    page.goto(address)
    page.wait_for_selector(".versus")


def test_multiple_choice_shows_what_was_chosen(page: Any) -> None:
    page.get_by_label("Compare first on words").check()
    page.get_by_label("Compare second on words").check()
    page.get_by_role("button", name="Side by side").click()
    page.wait_for_selector(".item-list li")
    box = page.locator(".answer-box").nth(1)
    assert "many" in box.locator(".text").inner_text() and "wrong" in box.inner_text()
    box.locator("summary").click()
    assert "−1.000" in box.locator(".options .best").inner_text()
    page.get_by_label("Graded by").select_option("accuracy_bytes")
    page.wait_for_selector(".versus")


def test_the_arena_is_blind_and_counts(page: Any, served: Running) -> None:
    page.get_by_role("link", name="Arena").click()
    page.wait_for_selector(".choices button")
    before = served.http.get("/api/evals/arena").json()["choices"]
    sent: list[str] = []
    page.on("response", lambda r: "arena/pairs" in r.url and sent.append(r.text()))
    for key, side in (("a", "left"), ("d", "right"), ("s", "tie")):
        shown = page.locator(".match").inner_text()
        assert "careful" not in shown and "hasty" not in shown
        page.keyboard.press(key)
        page.wait_for_selector(".revealed:not(:empty)")
        whose = page.locator(".who").all_inner_texts()
        assert sorted(whose) == ["careful", "hasty"]
        said = page.locator(".revealed").inner_text()
        assert said == ("Counted as a tie." if side == "tie" else f"Counted for {whose[side == 'right']}.")
        page.keyboard.press("n")
        page.wait_for_selector(".choices [data-side=tie]")
    assert sent and all("careful" not in body and "hasty" not in body for body in sent)
    found = served.http.get("/api/evals/arena").json()
    assert found["choices"] == before + 3
    page.wait_for_selector(".standings tbody tr")
    assert page.locator(".standings tbody tr").count() == 2
    stored = list(served.app.store.events(arena.CHOICE))
    again = served.http.post("/api/evals/arena/choices", json={"pair": stored[0].trace, "choice": "tie"})
    assert again.status_code == 400 and "already" in again.json()["error"]["message"]


def test_a_phone_in_the_dark(open_page: Callable[..., Any], served: Running) -> None:
    page = open_page(f"{served.url}/", viewport={"width": 375, "height": 700}, color_scheme="dark")
    ids = {r["system"]: r["id"] for r in served.http.get("/api/evals/runs").json()}
    for place in ("", f"{ids['careful']}~{ids['hasty']}", "arena"):
        visit(page, served, place, ".runs li" if not place else ".choices button" if place == "arena" else ".versus")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate("document.querySelector('.evals').scrollWidth") <= 375
        small = page.locator(".evals button:visible").evaluate_all(
            "all => all.filter((n) => n.getBoundingClientRect().height < 24).length"
        )
        assert small == 0


def test_bad_requests_are_named(served: Running) -> None:
    def said(path: str) -> tuple[int, str]:
        answer = served.http.get(f"/api/evals/{path}")
        return answer.status_code, answer.json()["error"]["message"]

    ids = {r["system"]: r["id"] for r in served.http.get("/api/evals/runs").json()}
    assert said("runs/nothing")[0] == 404
    assert "different tasks" in said(f"compare?a={ids['careful']}&b={ids['first']}")[1]
    assert "metric" in said(f"compare?a={ids['careful']}&b={ids['hasty']}&metric=sam")[1]
    assert "filter" in said(f"compare?a={ids['careful']}&b={ids['hasty']}&show=x")[1]
    assert said("runs?limit=0")[0] == 400
    assert served.http.post("/api/evals/arena/pairs", json={"task": "none"}).status_code == 404
    assert served.http.post("/api/evals/arena/choices", json={"pair": "x", "choice": "tie"}).status_code == 404
    assert served.http.post("/api/evals/arena/choices", json={"pair": "x", "choice": "both"}).status_code == 400
