// What is known of a passage beside its place: number, quote, scores. The address of an open source names only the
// document and the span; this remembers the rest for the panel.

import { go } from "./router.js";

const known = new Map();
const key = (document, span) => `${span?.[0]}-${span?.[1]}|${document}`;

export function remember(passage) {
  known.set(key(passage.document, passage.span), passage);
}

export const recall = (document, span) => (span ? known.get(key(document, span)) : undefined);

export function openSource(passage) {
  remember(passage);
  go({ doc: passage.document, span: passage.span });
}
