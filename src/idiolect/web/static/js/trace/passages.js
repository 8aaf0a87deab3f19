// What retrieval found: each passage with the score of every ranker.

import { h } from "../dom.js";
import { place, scoreBars, scoreRanges, section } from "../parts.js";
import { openSource } from "../passages.js";
import { dimmed, isMarkdown } from "../signs.js";
import { count } from "../text.js";

export function passages({ query, passages: found }, question) {
  const ranges = scoreRanges(found);
  return section(
    "Passages",
    count(found.length, "passage"),
    h(
      "p.query",
      null,
      h("span", null, query === question ? "Searched for the question as it stands" : "Rewritten query"),
      query !== question && h("q", null, query),
    ),
    h(
      "ol.passages",
      null,
      found.map((p) => passageCard(p, ranges)),
    ),
  );
}

/** A passage with its place and scores; also used by the search playground. */
export function passageCard(passage, ranges) {
  const text = passage.text.replace(/\n\s*\n/g, "\n"); // a preview: blank lines would push the words out of it
  return h(
    "li.passage-card",
    null,
    h(
      "button.link.subtle",
      { type: "button", on: { click: () => openSource(passage) } },
      h("span.path", null, passage.document),
      place(passage) && h("span.where", null, place(passage)),
    ),
    h("p.text", null, isMarkdown(passage.document) ? dimmed(text) : text),
    scoreBars(passage.scores, ranges),
  );
}
