// A search over the index, with the score of every ranker: what would an answer be made of?

import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { empty, failed, scoreRanges, skeleton } from "../parts.js";
import { noticed } from "../server.js";
import { count, seconds } from "../text.js";
import { passageCard } from "../trace/passages.js";

export class Playground {
  constructor() {
    this.input = h("input", {
      type: "search",
      placeholder: "Words, or a question",
      "aria-label": "Search the passages",
    });
    this.how = h(
      "select",
      { "aria-label": "Ranker", on: { change: () => this.search() } },
      [
        ["hybrid", "Hybrid"],
        ["bm25", "BM25: words"],
        ["dense", "Dense: meaning"],
      ].map(([value, label]) => h("option", { value }, label)),
    );
    this.results = h("div.results", { "aria-live": "polite" });
    this.controller = null;
    this.node = h(
      "div.playground",
      { hidden: true },
      h(
        "form.toolbar",
        { role: "search", on: { submit: (event) => (event.preventDefault(), this.search()) } },
        this.input,
        this.how,
        h("button.primary", { type: "submit" }, "Search"),
      ),
      this.results,
    );
    fill(
      this.results,
      empty(
        "search",
        "What would be found?",
        "See which passages a question brings up, and what each ranker thinks of them.",
      ),
    );
  }

  async search() {
    const query = this.input.value.trim();
    if (!query) return;
    this.controller?.abort();
    const controller = (this.controller = new AbortController());
    fill(this.results, skeleton(8));
    const begin = performance.now();
    try {
      const { passages } = await api.search(query, 10, this.how.value, controller.signal);
      if (!passages.length) {
        fill(
          this.results,
          empty(
            "none",
            "Nothing found",
            this.how.value === "bm25"
              ? "No passage has one of these words. Dense search looks for the meaning."
              : "No passage comes near these words.",
          ),
        );
        return;
      }
      const ranges = scoreRanges(passages);
      fill(
        this.results,
        h("p.note", null, `${count(passages.length, "passage")} in ${seconds((performance.now() - begin) / 1000)}`),
        h(
          "ol.passages",
          null,
          passages.map((p) => passageCard(p, ranges)),
        ),
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      noticed(error);
      fill(
        this.results,
        failed(error, () => this.search()),
      );
    }
  }
}
