"""Every format, good and bad: what is read, and the one clear line where it cannot be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.core.errors import CorruptFile, IdiolectError, NotFound
from idiolect.retrieval.load import FORMATS, format_of, load
from idiolect.retrieval.load.encoding import decode
from idiolect.retrieval.load.pdf_lines import paragraphs, strip_furniture
from tests.retrieval.files import docx, paragraph, pdf, table


def read(tmp_path: Path, name: str, content: str | bytes):
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    doc = load(file, name)
    for block in doc.blocks:
        assert 0 <= block.span[0] < block.span[1] <= len(doc.text)
        assert doc.text[slice(*block.span)].strip()
    return doc


def seen(doc, kind: str = "") -> list[tuple[str, tuple[str, ...]]]:
    return [(doc.text[slice(*b.span)], b.heading) for b in doc.blocks if not kind or b.kind == kind]


# ------------------------------------------------------------------------------------------------------ encodings

GERMAN = "Größe und Übermut: die Straße führt über die Brücke nach Köln, wo der Jäger süße Äpfel für zwölf Euro kauft. "


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings(encoding: str) -> None:
    assert decode((GERMAN * 3).encode(encoding), "a.txt") == GERMAN * 3


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("shift_jis", "東京は日本の首都であり、世界でもっとも人口の多い都市のひとつです。" * 5),
        ("cp1251", "Москва является столицей России, городом федерального значения и центром округа. " * 5),
        ("gb18030", "北京是中华人民共和国的首都，是全国的政治中心和文化中心，历史非常悠久。" * 5),
    ],
)
def test_old_encodings_are_guessed(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding), "a.txt") == text


def test_a_few_broken_bytes_do_not_change_the_encoding() -> None:
    raw = (GERMAN * 20).encode()
    assert decode(raw[:-4] + b"\xff." + GERMAN.encode(), "a.txt").startswith(GERMAN)
    assert decode("naïve café".encode()[:-1], "a.txt").startswith("naïve caf")


def test_line_ends_are_one_character() -> None:
    assert decode(b"a\r\nb\rc\n", "a.txt") == "a\nb\nc\n"


@pytest.mark.parametrize(
    "junk",
    [b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(500), bytes(4096)],
)
def test_binary_named_text_is_refused_by_name(tmp_path: Path, junk: bytes) -> None:
    with pytest.raises(CorruptFile, match=r"notes\.txt holds binary data"):
        read(tmp_path, "notes.txt", junk)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_text_or_one_clear_error(raw: bytes) -> None:
    try:
        assert isinstance(decode(raw, "a.txt"), str)
    except CorruptFile as error:
        assert "a.txt" in error.message


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_utf8_comes_back_unchanged(text: str) -> None:
    assert decode(text.encode(), "a.txt") == text.removeprefix("\ufeff")


# ------------------------------------------------------------------------------------------------------- formats


def test_text_paragraphs(tmp_path: Path) -> None:
    doc = read(tmp_path, "travel-notes_2024.txt", "One\nline two.\n \n\nSecond.\n")
    assert [t for t, _ in seen(doc)] == ["One\nline two.", "Second."]
    assert doc.title == "travel notes 2024"


def test_markdown_structure(tmp_path: Path) -> None:
    text = (
        "---\ntitle: 'The Guide'\ndate: 2024-05-01\n---\n\n# Start *here*\n\nHello\nworld.\n\n"
        "Setext [link](http://x)\n---\n\n- one\n- two\n\n```python\n# not a heading\n```\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n### Deep\n\nEnd\n"
    )
    doc = read(tmp_path, "a.md", text)
    assert doc.text == text
    assert doc.title == "The Guide"
    assert seen(doc, "paragraph") == [
        ("Hello\nworld.", ("Start here",)),
        ("End", ("Start here", "Setext link", "Deep")),
    ]
    assert seen(doc, "list") == [("- one\n- two", ("Start here", "Setext link"))]
    assert seen(doc, "code")[0][0].startswith("```python")
    assert [t for t, _ in seen(doc, "table")] == [
        "---\ntitle: 'The Guide'\ndate: 2024-05-01\n---",
        "| a | b |\n|---|---|\n| 1 | 2 |",
    ]


def test_markdown_title_falls_back(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", "# First\n").title == "First"
    assert read(tmp_path, "no-heading.md", "text").title == "no heading"


def test_html_main_text(tmp_path: Path) -> None:
    doc = read(
        tmp_path,
        "a.html",
        """<!doctype html><html><head><title>Page &amp; more</title><style>p{}</style><script>var a=1</script></head>
        <body><header>Site name</header><nav><a href=/>Home</a></nav><main><header><h1>Tea</h1></header>
        <p>Green <b>tea</b> is<br>good.</p><ul><li>Sencha<ul><li>spring</li></ul></li><li>Matcha</li></ul>
        <h2>Prices</h2><table><tr><th>kind</th><th>price</th></tr><tr><td>Sencha</td><td>9 €</td></tr></table>
        <pre>brew(80)
  wait(60)</pre><p hidden>secret</p><div>Loose text<p>then</p></div></main><footer>© us</footer></body></html>""",
    )
    assert doc.title == "Page & more"
    assert seen(doc) == [
        ("Tea", ("Tea",)),
        ("Green tea is\ngood.", ("Tea",)),
        ("- Sencha\n  - spring\n- Matcha", ("Tea",)),
        ("Prices", ("Tea", "Prices")),
        ("kind | price\nSencha | 9 €", ("Tea", "Prices")),
        ("brew(80)\n  wait(60)", ("Tea", "Prices")),
        ("Loose text", ("Tea", "Prices")),
        ("then", ("Tea", "Prices")),
    ]


def test_html_heading_without_its_permalink(tmp_path: Path) -> None:
    doc = read(tmp_path, "a.html", "<h1>Sorting<a class='headerlink' href='#s' title='Link'>¶</a></h1><p>In place.</p>")
    assert doc.blocks[-1].heading == ("Sorting",) and "¶" not in doc.text


def test_html_declared_charset(tmp_path: Path) -> None:
    raw = '<meta charset="iso-8859-2"><p>Żółta łódź płynie</p>'.encode("iso-8859-2")
    assert read(tmp_path, "a.htm", raw).text == "Żółta łódź płynie"


def test_html_nested_deeper_than_any_stack(tmp_path: Path) -> None:
    assert "deep" in read(tmp_path, "a.html", "<div>" * 20_000 + "deep").text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["<p>", "</p>", "<ul>", "<li>", "</ul>", "<table><tr><td>", "<h2>", "word", "</h2>"])))
def test_html_loses_no_words(tmp_path: Path, parts: list[str]) -> None:
    doc = read(tmp_path, "a.html", "<body>" + " ".join(parts))
    assert doc.text.count("word") == parts.count("word")


def test_pdf_pages_outline_and_title(tmp_path: Path) -> None:
    raw = pdf(
        ["Cover page", "1 Safety\nWear goggles (always).\nThe lab is cold.", "2 Storage\nKeep dry."],
        outline=[("Safety", 1), ("Storage", 2)],
        title="Lab Manual",
    )
    doc = read(tmp_path, "manual.pdf", raw)
    assert (doc.title, doc.format) == ("Lab Manual", "pdf")
    assert list(dict.fromkeys((b.page, b.heading) for b in doc.blocks)) == [
        (1, ()),
        (2, ("Safety",)),
        (3, ("Storage",)),
    ]
    assert "Wear goggles (always)." in doc.text
    goggles = next(b for b in doc.blocks if "goggles" in doc.text[slice(*b.span)])
    assert (goggles.page, goggles.heading) == (2, ("Safety",))


PAGES = [
    [
        "The Manual",
        "2 Reading files",
        "A file is read line by line, and what a line holds is",
        "split at the commas of it.",
        str(n),
    ]
    for n in range(1, 6)
]


def test_pdf_pages_lose_numbers_and_running_titles() -> None:
    assert strip_furniture(PAGES) == [page[1:-1] for page in PAGES]
    assert strip_furniture([["12"], ["A line", "iv"]]) == [["12"], ["A line"]]  # never all of a page


def test_pdf_wrapped_lines_are_one_and_headings_stand_alone() -> None:
    lines = strip_furniture(PAGES)[0]
    whole = "A file is read line by line, and what a line holds is split at the commas of it."
    assert list(paragraphs(lines, ["Reading Files"])) == [("2 Reading files", "Reading Files"), (whole, None)]


@given(st.lists(st.text("ab. é中\u3042", max_size=40), max_size=30), st.lists(st.text("ab é", max_size=5), max_size=3))
def test_pdf_paragraphs_lose_no_character(lines: list[str], titles: list[str]) -> None:
    got = "".join(text for text, _ in paragraphs(lines, titles))
    assert "".join(got.split()) == "".join("".join(lines).split())


def test_pdf_without_text_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path, "scan.pdf", pdf([""])).text == ""


def encrypted() -> bytes:
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["secret"])))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pdf_encrypted(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"a\.pdf is encrypted: it needs a password"):
        read(tmp_path, "a.pdf", encrypted())


def test_pdf_truncated(tmp_path: Path) -> None:
    """PDFium would mend a file that is cut, and give some of its pages as if they were all."""
    raw = pdf(["hello " * 50] * 30)
    for part in (120, len(raw) // 2, len(raw) - 3000):
        with pytest.raises(CorruptFile, match=r"a\.pdf is truncated"):
            read(tmp_path, "a.pdf", raw[:part])


def test_pdf_junk(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="not a PDF"):
        read(tmp_path, "a.pdf", b"<html>404</html>")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(20, 900), st.binary(min_size=1, max_size=20))
def test_pdf_damaged_anywhere(tmp_path: Path, at: int, junk: bytes) -> None:
    raw = pdf(["hello world"] * 2)
    try:
        read(tmp_path, "a.pdf", raw[:at] + junk + raw[at + len(junk) :])
    except IdiolectError as error:
        assert "a.pdf" in error.message


def test_docx_structure(tmp_path: Path) -> None:
    body = (
        paragraph("Report", "H1")
        + paragraph("Intro & more.")
        + paragraph("first", item=True)
        + paragraph("second", item=True)
        + paragraph("Costs", "H2")
        + table([["item", "euro"], ["rent", "900"]])
        + "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>kept</w:t></w:r></w:ins></w:p>"
    )
    file = docx(tmp_path / "a.docx", body, title="Yearly report")
    doc = load(file, "a.docx")
    assert doc.title == "Yearly report"
    assert seen(doc) == [
        ("Report", ("Report",)),
        ("Intro & more.", ("Report",)),
        ("- first\n- second", ("Report",)),
        ("Costs", ("Report", "Costs")),
        ("item | euro\nrent | 900", ("Report", "Costs")),
        ("kept", ("Report", "Costs")),
    ]


def test_docx_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idiolect.retrieval.load.docx.MAX_PART", 1 << 20)
    file = docx(tmp_path / "a.docx", paragraph("x" * (2 << 20)))
    assert file.stat().st_size < 10_000
    with pytest.raises(CorruptFile, match="unpacks to more than 1 MB"):
        load(file, "a.docx")


def test_docx_entities(tmp_path: Path) -> None:
    head = '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    file = docx(tmp_path / "a.docx", paragraph("x"), head=head)
    with pytest.raises(CorruptFile, match="entities"):
        load(file, "a.docx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "encrypted or in the old"),
        (b"PK\x03\x04 cut", "damaged or truncated"),
        (b"plain", "damaged or truncated"),
    ],
)
def test_docx_damaged(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(CorruptFile, match=reason):
        read(tmp_path, "a.docx", content)


def test_docx_truncated_and_other_zip(tmp_path: Path) -> None:
    whole = docx(tmp_path / "whole.docx", paragraph("text")).read_bytes()
    with pytest.raises(CorruptFile, match="damaged or truncated"):
        read(tmp_path, "a.docx", whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "b.docx", "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(CorruptFile, match="not a Word document"):
        load(tmp_path / "b.docx", "b.docx")


def test_code_definitions(tmp_path: Path) -> None:
    python = (
        '"""Doc."""\nimport os\n\n# About f.\n@cache\ndef f():\n    return 1\n\n'
        "class A(B):\n    def g(self):\n        pass\n\n    async def h(self):\n        pass\n\nx = 1\n"
    )
    doc = read(tmp_path, "m.py", python)
    assert [h for _, h in seen(doc)] == [(), ("f",), ("A",), ("A", "g"), ("A", "h")]
    assert seen(doc)[1][0].startswith("# About f.\n@cache\ndef f()")
    assert "".join(t for t, _ in seen(doc)) == python
    script = "export class Shop {\n  total(a) {\n  }\n}\nexport const add = async (a, b) => a + b;\nfunction run() {}\n"
    assert [h for _, h in seen(read(tmp_path, "m.ts", script))] == [("Shop",), ("add",), ("run",)]
    rust = "impl Foo {\n    pub fn bar(&self) {}\n}\npub(crate) struct Baz;\n"
    assert [h for _, h in seen(read(tmp_path, "m.rs", rust))] == [("Foo",), ("Foo", "bar"), ("Baz",)]
    java = "public class A {\n    private int size(List<String> x) {\n        return 1;\n    }\n}\n"
    assert [h for _, h in seen(read(tmp_path, "A.java", java))] == [("A",), ("A", "size")]


# ------------------------------------------------------------------------------------------------------ dispatch


def test_formats_by_name() -> None:
    assert format_of("a/b/README") == "text"
    assert format_of("A.PDF") == "pdf"
    assert format_of("photo.jpg") is None
    assert sum(len(s) for s in FORMATS.values()) == len({x for s in FORMATS.values() for x in s})


def test_gone_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load(tmp_path / "a.md", "a.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(IdiolectError, match=r"folder\.md"):
        load(tmp_path / "folder.md", "folder.md")
