// Words of a document are shown as they stand in it. Markdown's signs are a part of them, but step back a little, and
// where an editor wrapped a long line the text flows on.

import { h } from "./dom.js";

const MARKS = /^#{1,6}\s+|\*\*|__|`+|!?\[(?=[^\]]*\]\()|(?<=\[[^\]]*)\]\([^)]*\)/;
const WRAP = /(?<=^.{60,}[^\s\\])\n(?!\d+[.)]\s|[*+-]\s)(?=[\p{L}\p{N}`*_"'“„«([])/; // of a long line, not of a list or a verse
const SIGNS = new RegExp(`${MARKS.source}|${WRAP.source}`, "gmu");

export const isMarkdown = (path) => /\.(md|markdown|mdx)$/i.test(path);

/** The pieces of a Markdown text, unchanged, its signs in the background. `before` is what stands in front of it. */
export function dimmed(run, before = "") {
  const text = before + run;
  const out = [];
  let from = before.length;
  for (const match of text.matchAll(SIGNS)) {
    if (match.index < from) continue;
    out.push(text.slice(from, match.index), h(match[0] === "\n" ? "span.soft" : "span.sign", null, match[0]));
    from = match.index + match[0].length;
  }
  return [...out, text.slice(from)];
}
