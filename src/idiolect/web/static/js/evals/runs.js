// The list of runs: what was measured, how sure it is, and the way to two of them side by side.

import { api } from "../api.js";
import { fill, h, show } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { format, go } from "../router.js";
import { ago, count, seconds } from "../text.js";
import { figure } from "./figures.js";

export class Runs {
  constructor() {
    this.list = h("div.run-list");
    this.bar = h("div.picked", { hidden: true, role: "status" });
    this.node = h("div", null, this.bar, this.list);
    this.picked = []; // ids, at most two, the first is A
    this.items = null;
  }

  async load() {
    if (!this.items) fill(this.list, skeleton(6));
    try {
      this.items = await api.runs();
      this.draw();
    } catch (error) {
      fill(
        this.list,
        failed(error, () => this.load()),
      );
    }
  }

  draw() {
    if (!this.items.length) {
      fill(
        this.list,
        empty(
          "scale",
          "No runs yet",
          "Measure something with ",
          h("code", null, "idiolect eval embedded --tasks demo"),
          ".",
        ),
      );
      return;
    }
    const tasks = Map.groupBy ? Map.groupBy(this.items, (r) => r.hash) : group(this.items);
    fill(
      this.list,
      [...tasks.values()].map((runs) => this.task(runs)),
    );
    this.mark();
  }

  task(runs) {
    const [first] = runs;
    const metric = first.metrics[0];
    return h(
      "section.part",
      null,
      h("h2", null, first.task, h("small", null, `${metric.name.replaceAll("_", " ")}, task ${first.hash}`)),
      h(
        "ul.runs",
        null,
        runs.map((run) => this.row(run, metric)),
      ),
    );
  }

  row(run, metric) {
    const rest = run.metrics.slice(1).filter((m) => run.figures[m.name]);
    return h(
      "li",
      { dataset: { id: run.id } },
      h(
        "label.pick",
        null,
        h("input", {
          type: "checkbox",
          "aria-label": `Compare ${run.system} on ${run.task}`,
          on: { change: (event) => this.pick(run, event.target) },
        }),
        h("span.side", { "aria-hidden": "true" }),
      ),
      h(
        "a.system",
        { href: format({ tab: "evals", id: run.id }) },
        run.system,
        h(
          "small",
          null,
          [
            count(run.items, "item"),
            run.done ? seconds(run.seconds) : "not finished",
            run.cached ? `${run.cached} cached` : "",
            run.failed ? `${run.failed} failed` : "",
            ago(run.started),
          ]
            .filter(Boolean)
            .join(" · "),
        ),
      ),
      h("span.head", null, figure(run.figures[metric.name], metric)),
      rest.length > 0 &&
        h(
          "details",
          null,
          h("summary", null, count(rest.length, "more figure")),
          h(
            "dl",
            null,
            rest.map((m) =>
              h("div", null, h("dt", null, m.name.replaceAll("_", " ")), h("dd", null, figure(run.figures[m.name], m))),
            ),
          ),
        ),
    );
  }

  pick(run, box) {
    this.picked = this.picked.filter((r) => r.id !== run.id && r.hash === run.hash);
    if (box.checked) this.picked = [...this.picked, run].slice(-2);
    this.mark();
  }

  mark() {
    for (const row of this.list.querySelectorAll("li[data-id]")) {
      const at = this.picked.findIndex((r) => r.id === row.dataset.id);
      row.querySelector("input").checked = at >= 0;
      row.querySelector(".side").textContent = ["A", "B"][at] || "";
    }
    const [a, b] = this.picked;
    show(this.bar, Boolean(a));
    if (!a) return;
    fill(
      this.bar,
      h(
        "span",
        null,
        h("b", null, "A "),
        a.system,
        b ? [h("b", null, "  B "), b.system] : ". Pick a second run of the same task.",
      ),
      h(
        "button.primary",
        { type: "button", disabled: !b, on: { click: () => go({ tab: "evals", id: `${a.id}~${b.id}` }) } },
        "Side by side",
      ),
    );
  }
}

function group(items) {
  const out = new Map();
  for (const item of items) out.set(item.hash, [...(out.get(item.hash) || []), item]);
  return out;
}
