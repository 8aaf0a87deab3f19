// Markdown to DOM nodes. marked's lexer only reads (its HTML output is not used); every token becomes a node made by
// `h`, so raw HTML in an answer is shown as text, pictures are never fetched, and a link goes to http, https or mailto.

import { Lexer, Marked } from "../vendor/marked.esm.js";
import { h } from "./dom.js";

// No link definitions: "[1]: ..." at the end of an answer is text, and no block depends on another one, which lets
// MarkdownStream parse only the tail.
const OPTIONS = new Marked({
  gfm: true,
  tokenizer: { def: () => undefined, html: () => undefined, tag: () => undefined },
}).defaults;

export function lex(text) {
  return new Lexer(OPTIONS).lex(text);
}

/** @param {(number: number) => Node | null} cite makes the chip for `[n]`; null leaves the text as it stands */
export function block(token, cite) {
  const inner = (tokens) => inline(tokens, cite);
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return h(`h${Math.min(6, token.depth + 2)}`, null, inner(token.tokens)); // h1 and h2 belong to the page
    case "paragraph":
      return h("p", null, inner(token.tokens));
    case "text": // inside a tight list item
      return h("span", null, token.tokens ? inner(token.tokens) : token.text);
    case "code":
      return code(token);
    case "blockquote":
      return h(
        "blockquote",
        null,
        token.tokens.map((t) => block(t, cite)),
      );
    case "hr":
      return h("hr");
    case "list":
      return h(
        token.ordered ? "ol" : "ul",
        { start: token.ordered && token.start !== 1 ? token.start : null },
        token.items.map((item) =>
          h(
            "li",
            { class: item.task ? "task" : "" },
            item.tokens.map((t) => (t.type === "checkbox" ? box(t.checked) : block(t, cite))),
          ),
        ),
      );
    case "checkbox":
      return box(token.checked);
    case "table":
      return table(token, inner);
    default:
      return h("p", null, token.raw);
  }
}

const box = (checked) => h("input", { type: "checkbox", checked, disabled: true });

function code(token) {
  const language = (token.lang || "").split(/\s/)[0];
  return h("pre", { tabindex: "0", dataset: language ? { language } : {} }, h("code", null, token.text));
}

function table(token, inner) {
  const cell = (tag, c, i) => h(tag, { class: token.align[i] ? `align-${token.align[i]}` : "" }, inner(c.tokens));
  return h(
    "div.table-scroll",
    { tabindex: "0" },
    h(
      "table",
      null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          token.header.map((c, i) => cell("th", c, i)),
        ),
      ),
      h(
        "tbody",
        null,
        token.rows.map((row) =>
          h(
            "tr",
            null,
            row.map((c, i) => cell("td", c, i)),
          ),
        ),
      ),
    ),
  );
}

function inline(tokens, cite) {
  return tokens.map((token) => {
    const inner = () => inline(token.tokens, cite);
    switch (token.type) {
      case "strong":
        return h("strong", null, inner());
      case "em":
        return h("em", null, inner());
      case "del":
        return h("del", null, inner());
      case "codespan":
        return h("code", null, token.text);
      case "br":
        return h("br");
      case "link":
        return link(token, inner());
      case "image":
        return h("span.picture", { title: token.href }, token.text || "picture");
      case "escape":
        return token.text;
      case "text":
        return token.tokens ? inner() : citations(token.text, cite);
      default:
        return token.raw;
    }
  });
}

function link(token, children) {
  let url = null;
  try {
    url = new URL(token.href);
  } catch {
    // relative or malformed: an answer has no pages of its own
  }
  if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) return h("span", null, children);
  return h("a", { href: url.href, rel: "noopener noreferrer nofollow", target: "_blank", title: url.href }, children);
}

/** "[1]", "[1, 2]" and "[1][2]" become chips; the numbers nobody knows stay text. */
function citations(text, cite) {
  const out = [];
  let from = 0;
  for (const match of text.matchAll(
    /(?:\[\d{1,3}(?:\s*,\s*\d{1,3})*\]\s*)*\[\d{1,3}(?:\s*,\s*\d{1,3})*\][.,;:!?)]*/g,
  )) {
    const chips = match[0].match(/\d+/g).map((n) => cite?.(Number(n)) ?? null);
    if (chips.some((chip) => chip === null)) continue;
    out.push(...tied(text.slice(from, match.index), chips, /[^\]]*$/.exec(match[0])[0]));
    from = match.index + match[0].length;
  }
  out.push(text.slice(from));
  return out;
}

/** Keeps chips on one line with the word before them and the full stop after them. */
export function tied(text, chips, after = "") {
  const [, head, word, gap] = /^([^]*?)([^\s]{0,24})(\s*)$/.exec(text);
  return [head, h("span.tied", null, word, gap && "\u202f", chips, after)];
}

/** The whole text at once. */
export function markdown(text, cite) {
  return lex(text)
    .map((token) => block(token, cite))
    .filter(Boolean);
}

/** A growing text: only its last two blocks are parsed and drawn again, what stands above them is never touched. */
export class MarkdownStream {
  constructor(node, cite) {
    this.node = node;
    this.cite = cite;
    this.text = "";
    this.settled = 0; // characters whose blocks are final
    this.tail = []; // {raw, node} of the blocks that may still change
    this.frame = 0;
  }

  /** Add text; it is drawn with the next frame. */
  push(text) {
    this.text += text;
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const tokens = lex(this.text.slice(this.settled));
    const blocks = tokens.map((token, i) => ({ token, i })).filter(({ token }) => token.type !== "space");
    const old = this.tail;
    this.tail = blocks.map(({ token }, i) => {
      if (old[i]?.raw === token.raw) return old[i];
      const node = block(token, this.cite);
      if (old[i]) old[i].node.replaceWith(node);
      else this.node.append(node);
      return { raw: token.raw, node };
    });
    for (const gone of old.slice(blocks.length)) gone.node.remove();
    if (blocks.length > 2) {
      const keep = blocks.length - 2; // a list or a paragraph can still swallow the block after it
      for (const token of tokens.slice(0, blocks[keep].i)) this.settled += token.raw.length;
      this.tail = this.tail.slice(keep);
    }
  }
}
