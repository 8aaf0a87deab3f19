// Words of a document are shown as they stand in it. Markdown's signs are a part of them, but step back a little.

import { h } from "./dom.js";

const SIGNS = /^#{1,6}\s+|\*\*|__|`+|!?\[(?=[^\]]*\]\()|(?<=\[[^\]]*)\]\([^)]*\)/gm;

export const isMarkdown = (path) => /\.(md|markdown|mdx)$/i.test(path);

/** The pieces of a Markdown text, unchanged, its signs in the background. */
export function dimmed(run) {
  const out = [];
  let from = 0;
  for (const match of run.matchAll(SIGNS)) {
    out.push(run.slice(from, match.index), h("span.sign", null, match[0]));
    from = match.index + match[0].length;
  }
  return [...out, run.slice(from)];
}
