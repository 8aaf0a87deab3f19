"""The system's Chromium, the page's files on a port, and a real `idiolect up` over a folder made here."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from idiolect.core import files
from idiolect.web import STATIC
from tests.web.pages import DOCUMENTS, Server

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'idiolect[dev]'")

HERE = Path(__file__).parent
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and {"site", "page", "server", "open_page"} & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.browser)


def chromium() -> str:
    """The path of a Chromium, or a skip that says what to install."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine: install it (Debian: apt-get install chromium)")


# Scope "package": Playwright's loop must be gone before async tests of other folders run.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    path = chromium()
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@dataclass
class Watched:
    """What went wrong on a page: console errors, exceptions, and requests that left the server."""

    url: str
    console: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        def said(message: Any) -> None:
            # a refused request (4xx, 5xx) is logged by the browser itself; tests look at what the page makes of it
            if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
                self.console.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: self.exceptions.append(str(error)))
        page.on("request", lambda r: r.url.startswith((self.url, "data:", "blob:")) or self.foreign.append(r.url))

    def check(self) -> None:
        assert (self.console, self.exceptions, self.foreign) == ([], [], [])


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """open_page(url, **context options) -> page. At the end: no console error, no exception, no foreign request."""
    opened: list[tuple[Any, Watched]] = []

    def open(url: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(30_000)
        page = context.new_page()
        watched = Watched(url)
        watched.watch(page)
        opened.append((context, watched))
        page.goto(url)
        return page

    yield open
    for context, _ in opened:
        context.close()
    for _, watched in opened:
        watched.check()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", CSP)
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="package")
def site() -> Iterator[str]:
    """The page's files alone, for tests of its modules."""
    handler = functools.partial(_Handler, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.fixture(scope="package")
def module_page(browser: Any, site: str) -> Iterator[Any]:
    """A page on which `evaluate` can import the modules."""
    page = browser.new_page()
    page.goto(f"{site}vendor/marked.esm.js")  # same origin, shown as text: nothing runs
    yield page
    page.close()


# ------------------------------------------------------------------------------------------------- the real server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`idiolect up FOLDER` in a process of its own: its own store, the shared cache of weights."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("docs")
    for name, content in DOCUMENTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (home / "cache").symlink_to(files.cache_dir())
    port = _free()
    environment = os.environ | {"IDIOLECT_HOME": str(home), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "idiolect", "up", str(folder), "--port", str(port)]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        served = Server(f"http://127.0.0.1:{port}/", folder, home)
        deadline = time.monotonic() + 180
        while not _ready(served.url):
            assert process.poll() is None, log.read_text(errors="replace")[-4000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-4000:]
            time.sleep(0.2)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def free_port() -> int:
    return _free()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
