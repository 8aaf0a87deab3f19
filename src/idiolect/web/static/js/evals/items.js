// The items of one run, or of two side by side, with the filters that say where they differ.

import { api } from "../api.js";
import { append, fill, h, icon, show } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { count, minus } from "../text.js";
import { ends, figure, interval, value } from "./figures.js";

const PAGE = 50;
const FILTERS = [
  ["all", "All"],
  ["a", "A right, B wrong", "A better"],
  ["b", "B right, A wrong", "B better"],
  ["right", "Both right"],
  ["wrong", "Both wrong"],
];

export class Items {
  constructor() {
    this.node = h("div.items");
    this.id = "";
  }

  open(id) {
    if (this.id === id) return;
    this.id = id;
    this.show = "all";
    this.metric = "";
    this.load();
  }

  async load() {
    const { id } = this;
    fill(this.node, skeleton(8));
    try {
      const found = await this.fetch(0);
      if (this.id !== id) return;
      this.draw(found);
    } catch (error) {
      if (this.id === id)
        fill(
          this.node,
          back(),
          error.status === 404
            ? empty("none", "No such run", "It is not in this server's store.")
            : failed(error, () => this.load()),
        );
    }
  }

  fetch(offset) {
    const [a, b] = this.id.split("~");
    return b
      ? api.compareRuns({ a, b, metric: this.metric, show: this.show, offset, limit: PAGE })
      : api.run(a, offset, PAGE);
  }

  draw(found) {
    const { metrics } = found.run || found.a;
    this.headline = metrics.find((m) => m.name === found.metric);
    const rows = h("ol.item-list", null, this.rows(found));
    const more = h("button", { type: "button", on: { click: () => this.more(rows, more) } }, "More");
    show(more, found.rows.length < found.total);
    fill(
      this.node,
      back(),
      found.b ? this.comparison(found) : single(found),
      found.total ? [rows, more] : h("p.note", null, "No item is like this."),
    );
  }

  async more(rows, button) {
    button.disabled = true;
    try {
      const found = await this.fetch(rows.childElementCount);
      append(rows, this.rows(found));
      show(button, rows.childElementCount < found.total);
    } catch (error) {
      button.replaceWith(failed(error));
    }
    button.disabled = false;
  }

  rows(found) {
    return found.rows.map((item) => row(item, this.headline));
  }

  comparison(found) {
    const metric = found.a.metrics.find((m) => m.name === found.metric);
    const binary = found.counts.right + found.counts.wrong + found.counts.a + found.counts.b === found.counts.all;
    const gap = found.difference;
    const reach = Math.max(Math.abs(gap.low), Math.abs(gap.high), 1e-9) * 1.2;
    const better = gap.value > 0 === metric.higher_is_better ? found.a.system : found.b.system;
    return [
      h("h2", null, found.a.task),
      h(
        "div.versus",
        null,
        [found.a, found.b].map((run, i) =>
          h(
            "div",
            null,
            h("b.side", null, "AB"[i]),
            h("span.system", null, run.system),
            figure(run.figures[metric.name], metric),
          ),
        ),
        h(
          "div.gap",
          null,
          h("span", null, "A − B, on the same items"),
          interval(gap, -reach, reach, 0),
          h(
            "span.figure",
            null,
            h("strong", null, signed(gap.value, metric)),
            h("small", null, `${ends(gap, (at) => signed(at, metric))}n = ${gap.n}`),
          ),
          h("p", null, gap.clear ? [h("b", null, better), " is better on these items."] : unclear(gap)),
        ),
      ),
      found.metrics.length > 1 &&
        h(
          "label.metric",
          null,
          "Graded by ",
          h(
            "select",
            { on: { change: (event) => ((this.metric = event.target.value), this.load()) } },
            found.metrics.map((name) =>
              h("option", { value: name, selected: name === found.metric }, name.replaceAll("_", " ")),
            ),
          ),
        ),
      h(
        "div.pills",
        { role: "group", "aria-label": "Which items" },
        FILTERS.map(([name, words, other]) =>
          h(
            "button.pill",
            {
              type: "button",
              "aria-pressed": String(name === this.show),
              disabled: !found.counts[name],
              dataset: { show: name },
              on: { click: () => this.filter(name) },
            },
            binary ? words : other || words,
            h("span", null, found.counts[name]),
          ),
        ),
      ),
    ];
  }

  async filter(name) {
    this.show = name;
    await this.load();
    this.node.querySelector(`[data-show="${name}"]`)?.focus();
  }
}

function back() {
  return h("a.back", { href: "#/evals" }, icon("left"), "All runs");
}

function single(found) {
  const { run } = found;
  return [
    h("h2", null, run.task, h("small", null, `${run.system}, ${count(run.items, "item")}`)),
    h(
      "dl.figures",
      null,
      run.metrics
        .filter((m) => run.figures[m.name])
        .map((m) =>
          h(
            "div",
            null,
            h("dt", { title: m.about }, m.name.replaceAll("_", " ")),
            h("dd", null, figure(run.figures[m.name], m)),
          ),
        ),
    ),
  ];
}

function unclear(gap) {
  if (gap.p !== null) return "The difference may be chance.";
  return `${gap.differ === 1 ? "1 item differs" : `${gap.differ} items differ`}: too few to say which is better.`;
}

function signed(x, metric) {
  const text = value(x, metric);
  return x > 0 ? `+${text}` : minus(text);
}

function row(item, metric) {
  return h(
    "li",
    null,
    h("p.item-id", null, item.item),
    h("div.question", { tabindex: "0", role: "group", "aria-label": "Question" }, item.question),
    item.target && h("p.target", null, h("b", null, "Right: "), item.target),
    h("div.answers", null, answer(item, "a", metric), item.b && answer(item, "b", metric)),
  );
}

function answer(item, side, metric) {
  const { text, kind, grade, logprobs, best } = item[side];
  const scores = Object.entries(grade);
  const first = metric?.share && metric.higher_is_better ? grade[metric.name] : null;
  const verdict = first === 1 ? "good" : first === 0 ? "bad" : "";
  return h(
    `div.answer-box${verdict ? `.${verdict}` : ""}`,
    null,
    h(
      "header",
      null,
      item.b && h("b.side", null, side.toUpperCase()),
      verdict && h("span.verdict", null, verdict === "good" ? "right" : "wrong"),
      scores.length > 0 &&
        h(
          "small",
          null,
          scores
            .map(([name, x]) => `${name.replaceAll("_", " ")} ${x === null ? "–" : Number(x.toFixed(3))}`)
            .join(", "),
        ),
    ),
    h("p.text", null, kind === "failed" ? h("i", null, text) : text || h("i", null, "(nothing)")),
    logprobs &&
      h(
        "details",
        null,
        h("summary", null, "Log-likelihood of each option"),
        h(
          "ol.options",
          null,
          logprobs.map((x, i) =>
            h(
              "li",
              { class: i === best ? "best" : "" },
              h("span", null, item.options[i]?.trim() || String(i)),
              h("span.number", null, minus((x ?? NaN).toFixed(3))),
            ),
          ),
        ),
      ),
  );
}
