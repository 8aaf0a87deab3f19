"""Trace, Documents, keyboard, phone, dark, untrusted text, a server that starts or goes away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.pages import EVIL_NAME, QUESTION, Server, ask, choose

pytestmark = pytest.mark.browser


@pytest.fixture
def page(open_page: Callable[..., Any], server: Server) -> Any:
    opened = open_page(server.url)
    opened.wait_for_selector(".hero code")
    return opened


def test_trace_shows_the_prompt_and_the_tokens(page: Any, server: Server) -> None:
    choose(page, f"{server.model}:plain")
    ask(page, "Say the word yes.", wait=False)
    page.wait_for_selector("article.answer .prose p")
    page.wait_for_timeout(1_000)
    page.keyboard.press("Escape")
    page.click("article.answer a[aria-label='Trace of this answer']")
    page.wait_for_selector(".made .token")
    trace = server.get(f"api/traces/{page.url.rsplit('/', 1)[1]}")["events"]
    prompted = next(e for e in trace if e["kind"] == "prompted")
    chips = page.locator(".tokens.prompt .token")
    assert [int(i) for i in chips.evaluate_all("all => all.map((n) => n.dataset.id)")] == prompted["ids"]
    assert "Say the word yes." in "".join(prompted["pieces"])
    special = page.locator(".tokens.prompt .special").all_inner_texts()
    assert "<|im_start|>" in special
    tokens = [t for e in trace if e["kind"] == "tokens" for t in e["tokens"]]
    made = page.locator(".made .token")
    assert made.count() == len(tokens)
    assert set(made.evaluate_all("all => all.map((n) => n.classList[1])")) <= {"p0", "p1", "p2", "p3", "p4"}
    made.first.hover()
    rows = page.locator(".alternatives li")
    assert rows.count() >= min(2, len(tokens[0].get("top", [])))
    assert rows.locator(".number").first.inner_text().endswith("%")
    made.first.focus()
    page.keyboard.press("ArrowRight")
    assert f"id {tokens[1]['id']} " in page.locator(".alternatives h3").inner_text()
    assert "mean log-prob" in page.locator("section.part", has=page.locator(".made")).inner_text()
    facts = dict(zip(*(page.locator(f".facts {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
    said = next(e["data"] for e in trace if e["kind"] == "note" and e["code"] == "speed")
    facts = {name.lower(): value for name, value in facts.items()}
    assert facts["runner"] == said["runner"] and facts["runner"].startswith(("native", "torch"))
    if said["tokens_per_second"] is not None:
        assert facts["speed"] == f"{said['tokens_per_second']:.1f} tokens/s"


def test_trace_of_a_cited_answer_shows_passages_and_times(page: Any, server: Server) -> None:
    ask(page, QUESTION)
    page.click("article.answer a[aria-label='Trace of this answer']")
    page.wait_for_selector(".passage-card")
    trace = server.get(f"api/traces/{page.url.rsplit('/', 1)[1]}")["events"]
    found = next(e for e in trace if e["kind"] == "retrieved")["passages"]
    assert page.locator(".passage-card").count() == len(found)
    names = page.locator(".passage-card").first.locator(".scores dt").all_inner_texts()
    assert set(names) == set(found[0]["scores"])
    stages = {e["stage"] for e in trace if e["kind"] == "timing" and not e["stage"].startswith("layer:")}
    assert stages <= set(page.locator(".waterfall .stage").all_inner_texts())
    assert page.locator(".layers li").count() == len(server.get("api/info")["layers"])
    page.goto(f"{server.url}#/trace")
    assert QUESTION in page.locator(".trace-list").inner_text()


def test_documents_lists_what_was_indexed_and_what_failed_and_why(page: Any, server: Server) -> None:
    page.get_by_role("tab", name="Documents").click()
    page.wait_for_selector(".files tbody tr")
    status = server.get("api/documents")
    rows = page.locator(".files tbody tr")
    assert rows.count() == len(status["documents"]) + len(status["skipped"])
    failed = page.locator("tr.is-failed", has_text="broken.pdf")
    reason = next(d["reason"] for d in status["documents"] if d["path"] == "broken.pdf")
    assert reason
    assert reason in failed.inner_text()
    page.get_by_role("button", name="Failed").click()
    assert rows.count() == sum(d["state"] == "failed" for d in status["documents"])
    page.get_by_role("button", name="All").click()
    page.fill("input[aria-label='Filter the documents']", "zebra")
    assert page.locator(".files .file").all_inner_texts() == ["zebra.html"]
    page.get_by_role("link", name="Try the search").click()
    page.fill(".playground input", "stripes flies")
    page.keyboard.press("Enter")
    page.wait_for_selector(".playground .passage-card")
    assert "zebra.html" in page.locator(".playground .passage-card").first.inner_text()
    page.locator(".playground .passage-card button").first.click()
    page.wait_for_selector("dialog.source mark")
    assert "grass" in page.locator("dialog.source").inner_text()


def test_the_keyboard_is_enough(page: Any, server: Server) -> None:
    page.keyboard.press("Escape")
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Please.")
    assert page.locator("#question").input_value() == f"{QUESTION}\nPlease."
    page.keyboard.press("Enter")
    page.wait_for_selector("article.answer button.cite")
    page.wait_for_selector("article.answer.live", state="detached")
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("() => document.activeElement.matches('button.cite')"):
            break
    assert page.evaluate("() => document.activeElement.matches('button.cite:focus-visible')")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.source mark")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.source[open]", state="detached")
    assert page.evaluate("() => document.activeElement.matches('button.cite')")  # back where it was
    page.keyboard.press("2")
    assert page.get_by_role("tab", name="Trace").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Trace").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Documents").get_attribute("aria-selected") == "true"
    assert page.evaluate("() => document.activeElement.textContent") == "Documents"
    page.keyboard.press("Home")
    assert page.get_by_role("tab", name="Chat").get_attribute("aria-selected") == "true"
    unnamed = """() => [...document.querySelectorAll("button, a, input, select, textarea")]
      .filter((n) => n.checkVisibility() && !(n.textContent.trim() || n.getAttribute("aria-label") || n.labels?.length))
      .map((n) => n.outerHTML)"""
    assert page.evaluate(unnamed) == []


WIDE = """() => {
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  const own = (n) => ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(n).overflowX);
  const scrolls = (n) => n && (own(n) || scrolls(n.parentElement));
  for (const n of document.querySelectorAll("main *, header.top *")) {
    if (!n.checkVisibility({ visibilityProperty: true }) || n.closest("svg")) continue;
    const box = n.getBoundingClientRect();
    if (box.width && box.right > innerWidth + 1 && !scrolls(n.parentElement)) wide.push(n.className || n.localName);
  }
  return wide;
}"""


def test_a_phone_scrolls_only_down(open_page: Callable[..., Any], server: Server) -> None:
    phone = {"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True}
    page = open_page(server.url, **phone)
    page.wait_for_selector(".hero code")
    assert page.evaluate(WIDE) == []
    ask(page, QUESTION)
    assert page.evaluate(WIDE) == []
    page.locator("button.cite").first.click()
    page.wait_for_selector("dialog.source:modal mark")  # over everything
    assert page.locator("dialog.source").bounding_box()["width"] == 360
    assert page.evaluate(WIDE) == []
    page.go_back()
    page.wait_for_selector("dialog.source[open]", state="detached")
    page.get_by_label("Show or hide the conversations").click()
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector(".hero code")
    for tab in ("Trace", "Documents"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(".trace-list li" if tab == "Trace" else ".files tbody tr")
        assert page.evaluate(WIDE) == []
    page.goto(f"{server.url}#/trace/{server.get('api/traces')[0]['trace']}")
    page.wait_for_selector("article.trace .part")
    assert page.evaluate(WIDE) == []


@pytest.mark.parametrize("width", [320, 360, 375, 400, 412, 440, 820])
def test_the_header_fits(open_page: Callable[..., Any], server: Server, width: int) -> None:
    page = open_page(server.url, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True)
    page.wait_for_selector(".hero code")
    for tab in ("Chat", "Trace", "Documents", "Evals"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(f"#tab-{tab.lower()}[aria-selected=true]")
        assert page.evaluate("() => document.querySelector('.top').scrollWidth <= innerWidth"), tab


def test_dark_follows_the_system_and_the_button(open_page: Callable[..., Any], server: Server) -> None:
    shade = """() => {
      const luminance = (color) => {
        const canvas = new OffscreenCanvas(1, 1).getContext("2d");
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const style = getComputedStyle(document.documentElement);
      const note = getComputedStyle(document.querySelector(".hero p"));
      const paper = luminance(style.backgroundColor);
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return { paper, ink: contrast(paper, luminance(style.color)), soft: contrast(paper, luminance(note.color)) };
    }"""
    page = open_page(server.url, color_scheme="dark")
    page.wait_for_selector(".hero code")
    dark = page.evaluate(shade)
    assert dark["paper"] < 0.05
    page.get_by_label("Theme: as the system").click()
    light = page.evaluate(shade)
    assert light["paper"] > 0.9
    for seen in (dark, light):  # WCAG 2.2: 7:1 is AAA, 4.5:1 is AA
        assert seen["ink"] >= 12
        assert seen["soft"] >= 5.5
    page.reload()
    page.wait_for_selector(".hero code")
    assert page.evaluate(shade)["paper"] > 0.9


def test_documents_cannot_script_the_page(page: Any, server: Server) -> None:
    ask(page, "Where does the quokka live?")
    answer = page.locator("article.answer")
    assert "Rottnest" in answer.inner_text()
    answer.locator("button.cite").first.click()
    page.wait_for_selector("dialog.source mark")
    assert "<script>window.pwned = 1</script>" in page.locator("dialog.source").inner_text()
    page.click("article.answer a[aria-label='Trace of this answer']")
    page.wait_for_selector(".passage-card")
    page.goto(f"{server.url}#/documents")
    page.wait_for_selector(".files tbody tr")
    assert EVIL_NAME in page.locator(".files").inner_text()
    page.goto(f"{server.url}#/documents/search")
    page.fill(".playground input", "quokka smiles")
    page.keyboard.press("Enter")
    page.wait_for_selector(".playground .passage-card")
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("img[src=x], main script, a[href^='javascript:']").count() == 0


@pytest.fixture
def late(server: Server, tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts `idiolect up` on the same port each time; the test goes on while it loads."""
    (tmp_path / "cache").symlink_to((server.home / "cache").resolve())
    if (server.home / "state/probes").is_dir():  # what the first server measured need not be measured again
        shutil.copytree(server.home / "state/probes", tmp_path / "state/probes")
    command = [sys.executable, "-m", "idiolect", "up", str(server.folder), "--port"]
    environment = os.environ | {"IDIOLECT_HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    running: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen([*command, str(port)], env=environment, stdout=quiet, stderr=quiet))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(
    open_page: Callable[..., Any], late: Callable[[int], subprocess.Popen[bytes]], free_port: int
) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    process = late(free_port)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}favicon.svg", timeout=5).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    page = open_page(url)
    notice = page.locator(".notice")
    page.fill("#question", QUESTION)
    starting = notice.inner_text() if notice.is_visible() else ""
    if starting:  # a very fast machine may be ready before its page is
        assert "starting" in starting
        assert page.locator("button.send").is_disabled()
    page.wait_for_selector(".hero code", timeout=90_000)
    page.wait_for_selector("button.send:enabled")
    assert notice.is_hidden()
    process.kill()
    process.wait()
    page.press("#question", "Enter")
    page.wait_for_selector("article.answer .failure")
    page.wait_for_selector(".notice:not([hidden])")
    assert "No connection" in notice.inner_text()
    late(free_port)
    page.wait_for_selector(".notice", state="hidden", timeout=90_000)
    page.get_by_role("button", name="Ask again", exact=True).click()
    page.wait_for_selector("article.answer button.cite")
