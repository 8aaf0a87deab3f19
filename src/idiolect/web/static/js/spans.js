// Which characters of a document to mark, and how its text is cut into blocks. Offsets are UTF-16 units here.

/** The blocks as consecutive pieces that cover the whole text: each runs to the start of the next one.
 *  `text` is the block's own span; what follows it up to `end` is the gap. */
export function pieces(text, blocks) {
  const sorted = [...blocks].sort((a, b) => a.span[0] - b.span[0]);
  const out = [];
  let at = 0;
  sorted.forEach((block, i) => {
    const start = Math.max(at, out.length ? block.span[0] : 0);
    const next = i + 1 < sorted.length ? Math.max(start, sorted[i + 1].span[0]) : text.length;
    if (next <= start) return;
    out.push({
      start,
      end: next,
      text: [start, Math.min(next, Math.max(start, block.span[1]))],
      kind: block.kind,
      page: block.page,
      depth: block.heading?.length || 1,
    });
    at = next;
  });
  if (!out.length && text)
    out.push({ start: 0, end: text.length, text: [0, text.length], kind: "paragraph", depth: 0 });
  return out;
}

/** The span is a quote's place, or a whole passage's; `known` (a citation or a hit) tells which and gives the other. */
export function bestSpans(text, span, known, at = (x) => x) {
  const clip = ([a, b]) => [Math.max(0, Math.min(a, text.length)), Math.max(0, Math.min(b, text.length))];
  const marks = { quote: clip(span) };
  if (known?.passage_span) marks.passage = clip(known.passage_span.map(at));
  return marks;
}
