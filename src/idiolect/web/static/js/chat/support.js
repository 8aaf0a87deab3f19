// Marks the sentences of a generated answer that no passage supports.

import { h } from "../dom.js";

/** The sentences of an answer that the check could not bear out: [{sentence, why}]. */
export function unsupported({ notes = [] }) {
  return (notes || [])
    .filter((n) => n.code === "unsupported" && n.data?.sentence)
    .map((n) => ({ sentence: n.data.sentence, why: n.text }));
}

/** Wrap each unsupported sentence inside `root` in a mark. Sentences are found over node borders, ignoring white space,
 *  Markdown signs and citation numbers, because the answer's text has been formatted since. */
export function markSentences(root, answer) {
  const sentences = unsupported(answer);
  if (!sentences.length) return;
  for (const { sentence, why } of sentences) {
    const { text, at } = letters(root);
    const wanted = strip(sentence);
    if (!wanted) continue;
    const from = text.indexOf(wanted);
    if (from < 0) continue;
    wrap(at, from, from + wanted.length, why);
  }
}

const SKIP = /[\s*_`~#>|[\]]/;
const strip = (text) => [...text.replace(/\[\d+(,\s*\d+)*\]/g, "")].filter((c) => !SKIP.test(c)).join("");

/** The letters of the visible text, each with the text node and offset it came from; chips are left out. */
function letters(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (n) =>
    n.parentElement.closest(".cite") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
  );
  let text = "";
  const at = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (let i = 0; i < node.data.length; i++) {
      if (SKIP.test(node.data[i])) continue;
      text += node.data[i];
      at.push([node, i]);
    }
  }
  return { text, at };
}

function wrap(at, from, to, why) {
  const runs = []; // one per text node
  for (const [node, i] of at.slice(from, to)) {
    const last = runs[runs.length - 1];
    if (last?.node === node) last.end = i + 1;
    else runs.push({ node, start: i, end: i + 1 });
  }
  runs.forEach((run, i) => {
    // white space at the border of two text nodes belongs to the sentence as well
    if (i > 0 && !run.node.data.slice(0, run.start).trim()) run.start = 0;
    if (i < runs.length - 1 && !run.node.data.slice(run.end).trim()) run.end = run.node.data.length;
  });
  for (const { node, start, end } of runs) {
    const piece = node.splitText(start);
    piece.splitText(end - start);
    const mark = h("span.doubt", { title: `Not supported: ${why}` });
    piece.replaceWith(mark);
    mark.append(piece);
  }
}
