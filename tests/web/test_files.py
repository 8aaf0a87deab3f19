"""The page's files as they are shipped: small, whole, inert."""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path

import pytest

from idiolect.web import STATIC

OWN = sorted(p for p in STATIC.rglob("*") if p.is_file() and "vendor" not in p.parts)
SCRIPTS = [p for p in OWN if p.suffix == ".js"]


def name(path: Path) -> str:
    return str(path.relative_to(STATIC))


def test_the_compressed_page_is_under_300_kb() -> None:
    assert sum(len(zlib.compress(p.read_bytes(), 9)) for p in STATIC.rglob("*") if p.is_file()) < 300_000


def test_vendored_files_are_the_published_ones() -> None:
    rows = [line for line in (STATIC / "vendor/VENDORED").read_text().splitlines() if not line.startswith("#")]
    listed = {}
    for row in rows:
        file, package, version, licence, source, digest = (cell.strip() for cell in row.split("|"))
        assert package.startswith("npm:")
        assert version
        assert source
        assert (STATIC / "vendor" / re.findall(r"\((.+)\)", licence)[0]).read_text()
        assert hashlib.sha256((STATIC / "vendor" / file).read_bytes()).hexdigest() == digest
        listed[file] = package
    assert {p.name for p in (STATIC / "vendor").glob("*.js")} == set(listed)


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_no_script_makes_markup_or_code_from_text(path: Path) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc"
    ways += r"|\beval\(|new Function|setTimeout\(\s*[\"'`]|\.cssText|import\("
    assert re.findall(ways, path.read_text()) == []


@pytest.mark.parametrize("path", [p for p in OWN if p.suffix in (".html", ".js", ".css", ".svg")], ids=name)
def test_nothing_inline_and_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/", "")
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w{2,}/?|@import|url\((?!data:)", text) == []
    if path.suffix == ".html":
        assert re.findall(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_imports_name_files_that_exist(path: Path) -> None:
    for target in re.findall(r"from \"([^\"]+)\"", path.read_text()):
        assert (path.parent / target).is_file(), target
