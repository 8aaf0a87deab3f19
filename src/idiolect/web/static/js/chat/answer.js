// The body of one answer: streaming Markdown, quotes, citations, and which sentences nothing supports.

import { fill, h, icon } from "../dom.js";
import { MarkdownStream, markdown, tied } from "../markdown.js";
import { place } from "../parts.js";
import { openSource, remember } from "../passages.js";
import { dimmed, isMarkdown } from "../signs.js";
import { markSentences } from "./support.js";

/** A numbered chip. Before its source is known it is only a number. */
export function chip(number, citation) {
  if (!citation) return h("span.cite.pending", null, number);
  const where = [citation.document, place(citation)].filter(Boolean).join(", ");
  return h(
    "button.cite",
    {
      type: "button",
      class: citation.supported === false ? "unsupported" : "",
      title: where,
      "aria-label": `Source ${number}: ${where}`,
      on: { click: () => openSource(citation) },
    },
    number,
  );
}

export class AnswerBody {
  constructor(node) {
    this.answer = node;
    this.node = h("div.prose");
    this.stream = null;
  }

  find(number) {
    return this.answer.citations?.find((c) => c.number === number);
  }

  /** More text came. */
  push(text) {
    if (!this.stream) {
      fill(this.node);
      this.stream = new MarkdownStream(this.node, (n) => chip(n, this.find(n)));
    }
    this.stream.push(text);
  }

  /** Draw the whole answer as it now stands. */
  draw() {
    if (this.stream) cancelAnimationFrame(this.stream.frame);
    this.stream = null;
    const { content, citations = [], state } = this.answer;
    for (const citation of citations) remember(citation);
    const waiting = state === "waiting" || (state === "writing" && !content);
    const quotes = waiting ? null : quoted(this.answer);
    this.node.classList.toggle("quotes", Boolean(quotes));
    if (waiting)
      fill(this.node, h("div.thinking", { role: "status", "aria-label": "Working" }, h("span"), h("span"), h("span")));
    else if (quotes) fill(this.node, quotes);
    else {
      fill(
        this.node,
        markdown(content, (n) => (this.find(n) ? chip(n, this.find(n)) : null)),
      );
      markSentences(this.node, this.answer);
    }
  }
}

/** A quote answer is drawn from its citations, word for word, so that no character of a document is taken as Markdown.
 *  Null unless the text is nothing but its quotes and their numbers. */
function quoted({ mode, content, citations = [] }) {
  if (mode !== "quote" || !citations.length) return null;
  const bare = (text) => text.replace(/[\s>"“”*_]+|\[\d+\]/g, "");
  const ordered = [...citations].sort((a, b) => content.indexOf(a.quote) - content.indexOf(b.quote));
  if (bare(content) !== bare(ordered.map((c) => c.quote).join(""))) return null;
  return ordered.map((c) =>
    h("figure.quote", null, h("blockquote", null, quoteWords(c)), h("figcaption", null, sourceLink(c))),
  );
}

function quoteWords(citation) {
  const { document, quote, number } = citation;
  const [head, end] = tied(`${quote} `, chip(number, citation));
  return [isMarkdown(document) ? dimmed(head) : head, end];
}

function sourceLink(citation) {
  return h(
    "button.link.subtle",
    { type: "button", on: { click: () => openSource(citation) } },
    h("span.path", null, citation.document),
    place(citation) && h("span.where", null, place(citation)),
  );
}

/** The list of sources under a generated answer. */
export function sources(citations) {
  if (!citations?.length) return null;
  return h(
    "ol.sources",
    { "aria-label": "Sources" },
    citations.map((c) =>
      h(
        "li",
        null,
        h("span.number", { "aria-hidden": "true" }, c.number),
        sourceLink(c),
        c.supported === false &&
          h("span.tag", { title: "The support check did not find this in the source" }, icon("warn"), "not supported"),
      ),
    ),
  );
}
