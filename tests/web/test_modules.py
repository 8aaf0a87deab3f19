"""Laws of the page's modules, run in the browser that will run them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.browser

BITS = st.sampled_from(
    [
        *("- ", "1. ", "\n", "\n\n", "  ", "    ", "# ", "> ", "**", "*", "`", "```\n", "---\n", "===\n", "\t", "\r\n"),
        *("| a | b |\n|---|---|\n| c | d |\n", "word", "two words ", "[1]", "[1, 2]", "[1]: http://a.example", "[ ] "),
        *("[x](javascript:alert(1))", "http://a.example ", "é\U0001f33f", "<b>", "<script>pwned=1</script>", "<!--"),
        *("&lt;", "\\*"),
    ]
)
TEXTS = st.lists(BITS, max_size=24).map("".join)

STREAM = """async ([text, cuts]) => {
  const { MarkdownStream, markdown } = await import("/js/markdown.js");
  const { h } = await import("/js/dom.js");
  const cite = (n) => h("i", null, n);
  const whole = h("div", null, markdown(text, cite));
  const stream = new MarkdownStream(document.createElement("div"), cite);
  for (let i = 0; i <= cuts.length; i++) {
    stream.text += text.slice(cuts[i - 1] ?? 0, cuts[i] ?? text.length);
    stream.draw();
  }
  return [stream.node.innerHTML, whole.innerHTML];
}"""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, data=st.data())
def test_streamed_markdown_equals_the_whole(module_page: Any, text: str, data: st.DataObject) -> None:
    units = len(text.encode("utf-16-le")) // 2
    cuts = sorted(data.draw(st.lists(st.integers(0, units), max_size=12)))
    streamed, whole = module_page.evaluate(STREAM, [text, cuts])
    assert streamed == whole


SAFE = """async (text) => {
  const { markdown } = await import("/js/markdown.js");
  const { h } = await import("/js/dom.js");
  const node = h("div", null, markdown(text, () => null));
  document.body.append(node);
  const tags = [...node.querySelectorAll("*")].map((n) => n.localName);
  const names = [...node.querySelectorAll("*")].flatMap((n) => n.getAttributeNames());
  const handlers = names.filter((a) => a.startsWith("on"));
  const links = [...node.querySelectorAll("[href], [src]")].map((n) => n.protocol ?? n.src);
  await new Promise((done) => setTimeout(done, 0));
  node.remove();
  return { tags, handlers, links, pwned: "pwned" in window };
}"""
EVIL = [
    "<script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned=1">',
    "[a](javascript:window.pwned=1) [b](JaVaScRiPt:window.pwned=1) [c](data:text/html,<script>pwned=1</script>)",
    "[d](java\nscript:alert(1)) [e](vbscript:x) [f](//elsewhere.example/x) [g](file:///etc/passwd)",
    "![picture](http://elsewhere.example/track.png)",
    "<a href='javascript:pwned=1'>x</a><svg onload=pwned=1><style>*{display:none}</style><iframe srcdoc='x'>",
    "```html\n<script>window.pwned = 1</script>\n```",
    "| <img src=x onerror=pwned=1> |\n|---|\n| <b onmouseover=pwned=1>x</b> |",
    "<javascript:pwned=1> <http://ok.example>",
]


@pytest.mark.parametrize("text", EVIL)
def test_markdown_is_inert(module_page: Any, text: str) -> None:
    made = module_page.evaluate(SAFE, text)
    assert not {"script", "img", "iframe", "svg", "style", "object", "embed", "form"} & set(made["tags"])
    assert made["handlers"] == []
    assert set(made["links"]) <= {"http:", "https:", "mailto:"}
    assert not made["pwned"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40), data=st.data())
def test_code_point_offsets_become_utf_16_offsets(module_page: Any, text: str, data: st.DataObject) -> None:
    text = text.encode("utf-16", "ignore").decode("utf-16")  # no lone surrogates: JSON cannot carry them
    a = data.draw(st.integers(0, len(text)))
    b = data.draw(st.integers(a, len(text)))
    script = """async ([text, a, b]) => {
      const at = (await import("/js/text.js")).offsets(text);
      return text.slice(at(a), at(b));
    }"""
    assert module_page.evaluate(script, [text, a, b]) == text[a:b]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8), text=st.text("ab \n", max_size=60)
)
def test_blocks_cover_a_text_exactly_once(module_page: Any, spans: list[tuple[int, int]], text: str) -> None:
    blocks = [{"span": sorted(span), "kind": "paragraph", "heading": [], "page": None} for span in spans]
    script = """async ([text, blocks]) => {
      const { pieces } = await import("/js/spans.js");
      return pieces(text, blocks).map((b) => text.slice(b.start, b.end)).join("");
    }"""
    blocks = [b for b in blocks if b["span"][1] <= len(text)]
    assert module_page.evaluate(script, [text, blocks]) == text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 120), max_size=10), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_events_do_not_depend_on_how_bytes_arrive(module_page: Any, cuts: list[int], end: str) -> None:
    lines = ["data: one", "", ": comment", "event: x", "data: zwei \U0001f33f", "data:drei", "", "data: [DONE]", "", ""]
    body = list(end.join(lines).encode())
    script = """async ([body, cuts]) => {
      const { events } = await import("/js/sse.js");
      const bytes = new Uint8Array(body);
      const stream = new ReadableStream({ start(c) {
        for (let i = 0; i <= cuts.length; i++) c.enqueue(bytes.slice(cuts[i - 1] ?? 0, cuts[i] ?? bytes.length));
        c.close();
      } });
      const out = [];
      for await (const data of events(stream)) out.push(data);
      return out;
    }"""
    given = [min(c, len(body)) for c in sorted(cuts)]
    assert module_page.evaluate(script, [body, given]) == ["one", "zwei \U0001f33f\ndrei", "[DONE]"]


def test_unsupported_sentences_are_marked_across_formatting(module_page: Any) -> None:
    script = """async (answer) => {
      const { AnswerBody } = await import("/js/chat/answer.js");
      const body = new AnswerBody(answer);
      body.draw();
      const marked = [...body.node.querySelectorAll(".doubt")].map((n) => n.textContent);
      return { marked: marked.join("|"), text: body.node.textContent };
    }"""
    answer = {
        "content": "The sky is **blue** [1]. The *moon* is made of `cheese`. It is round [1].",
        "mode": "generate",
        "state": "done",
        "citations": [{"number": 1, "document": "a.md", "span": [0, 3], "quote": "sky", "heading": [], "page": None}],
        "notes": [
            {
                "code": "unsupported",
                "text": "no source says so",
                "data": {"sentence": "The *moon* is made of `cheese`."},
            }
        ],
    }
    made = module_page.evaluate(script, answer)
    assert made["marked"] == "The |moon| is made of |cheese|."
    assert made["text"].replace("\u202f", " ") == "The sky is blue 1. The moon is made of cheese. It is round 1."


def test_a_wrapped_line_flows_on_and_other_lines_stand(module_page: Any) -> None:
    """The text stays what it is; only how the line ends are drawn differs."""
    long = "This line was wrapped by an editor that breaks after eighty characters"
    text = f"{long}\nand goes on. {long}\n- an item\nshort\nverse\n{long}  \nbroken on purpose\n{long}\n12. twelfth\n"
    script = """async (text) => {
      const { dimmed } = await import("/js/signs.js");
      const read = (parts) => {
        const node = document.createElement("p");
        node.append(...parts);
        const after = [...node.querySelectorAll(".soft")].map((s) => s.nextSibling.textContent.slice(0, 8));
        return [node.textContent, after];
      };
      return [read(dimmed(text)), read(dimmed(text.slice(40), text.slice(0, 40)))];
    }"""
    assert module_page.evaluate(script, text) == [[text, ["and goes"]], [text[40:], ["and goes"]]]


def test_branches_of_a_tree(module_page: Any) -> None:
    script = """async () => {
      const { Tree } = await import("/js/tree.js");
      const node = (id, parent, role) => ({ id, parent, role });
      const answers = [node("a1", "q", "assistant"), node("a2", "q", "assistant")];
      const nodes = [node("q", null, "user"), ...answers, node("q2", "a1", "user")];
      const tree = new Tree("test", nodes);
      const ids = (t) => t.path().map((n) => n.id).join(" ");
      const newest = ids(tree);
      tree.choose(tree.nodes.get("a1"));
      const chosen = ids(tree);
      const local = tree.add(node("local-1", "q2", "assistant"));
      tree.choose(local);
      tree.rename(local, "a3");
      return [newest, chosen, ids(tree), ids(new Tree("test", nodes)), tree.siblings(local).length];
    }"""
    assert module_page.evaluate(script) == ["q a2", "q a1 q2", "q a1 q2 a3", "q a1 q2", 1]
