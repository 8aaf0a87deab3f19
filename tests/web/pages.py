"""The folder that the page's tests ask about, and what they do on the page again and again."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTION = "What happens to unused vacation days?"
EVIL_NAME = "evil <img src=x onerror=pwned=1>.md"
DOCUMENTS: dict[str, str | bytes] = {
    "time-off.md": (
        "# Time off\n\nEveryone has thirty days of paid leave a year \U0001f33f. Leave is counted in working days.\n\n"
        "## Asking for leave\n\nAsk your team lead at least two weeks before the first day. Shorter notice is fine "
        "when the team agrees.\n\n"
        "## Carrying days over \U0001f4c5\n\nUp to ten unused vacation days move into the next year. They lapse at "
        "the end of March.\n\n## Sick leave\n\nTell your lead before ten in the morning. From the third day a "
        "doctor's note is needed.\n"
    ),
    "guide/zebra.html": (
        "<html><head><title>The zebra</title></head><body><h1>The zebra</h1><p>A zebra eats mostly grass. "
        "Its stripes keep biting flies away.</p><h2>Speed</h2><p>A zebra runs at sixty-five kilometres an hour."
        "</p></body></html>"
    ),
    "notes/telescope.txt": (
        "The telescope on the hill was built in 1911.\n\nIts mirror has a diameter of one hundred and fifty "
        "centimetres.\n"
    ),
    EVIL_NAME: (
        '# <script>window.pwned = 1</script> Quokka\n\nThe quokka <img src=x onerror="window.pwned=1"> lives on '
        "Rottnest Island <script>window.pwned = 1</script> and [smiles](javascript:window.pwned=1) a lot.\n"
    ),
    "broken.pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nthis file ends too ear",
    "photo.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 8,
}


@dataclass
class Server:
    url: str
    folder: Path
    home: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    @property
    def model(self) -> str:
        return self.get("api/info")["model"]


def choose(page: Any, model: str) -> None:
    page.select_option("select[aria-label=Model]", model)


def ask(page: Any, question: str, *, wait: bool = True) -> None:
    before = page.locator("article.answer").count()
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.locator("article.answer").nth(before).wait_for()
    if wait:
        ended(page)


def ended(page: Any) -> None:
    page.wait_for_selector("article.answer.live", state="detached", timeout=90_000)
