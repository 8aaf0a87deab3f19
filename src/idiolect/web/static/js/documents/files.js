// The ledger as a table: indexed, failed and why, skipped and why; with filter, sort and progress.

import { api } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { go } from "../router.js";
import { noticed, refreshInfo } from "../server.js";
import { ago, bytes, count } from "../text.js";

const COLUMNS = [
  ["path", "Document"],
  ["format", "Format"],
  ["chunks", "Passages"],
  ["bytes", "Size"],
  ["mtime", "Changed"],
];
const STATES = [
  ["all", "All"],
  ["indexed", "Indexed"],
  ["failed", "Failed"],
  ["empty", "Empty"],
  ["skipped", "Skipped"],
];
const ROWS = 300; // drawn at once

export class Files {
  constructor() {
    this.summary = () => {};
    this.data = null;
    this.filter = "";
    this.state = "all";
    this.sort = { by: "path", down: false };
    this.limit = ROWS;
    this.timer = 0;
    this.input = h("input", {
      type: "search",
      placeholder: "Filter by name or title",
      "aria-label": "Filter the documents",
      on: { input: () => ((this.filter = this.input.value.toLowerCase()), (this.limit = ROWS), this.draw()) },
    });
    this.states = h("div.pills", { role: "group", "aria-label": "State" });
    this.table = h("div", null, skeleton(10));
    this.node = h("div.files", null, h("div.toolbar", null, this.input, this.states), this.table);
  }

  async load() {
    clearTimeout(this.timer);
    try {
      this.data = await api.documents();
      this.draw();
      const before = this.indexing;
      this.indexing = this.data.indexing;
      if (this.indexing || before) refreshInfo();
      this.timer = setTimeout(() => this.load(), this.indexing ? 1000 : 10_000);
    } catch (error) {
      noticed(error);
      if (error.status === 404) {
        this.data = { folder: "", documents: [], skipped: {}, indexing: false };
        this.draw();
        return;
      }
      this.timer = setTimeout(() => this.load(), 10_000); // the notice above says that the server is away
      if (!this.data)
        fill(
          this.table,
          failed(error, () => this.load()),
        );
    }
  }

  pause() {
    clearTimeout(this.timer);
  }

  rows() {
    const skipped = Object.entries(this.data.skipped || {}).map(([path, reason]) => ({
      path,
      state: "skipped",
      reason,
      format: "",
      title: "",
    }));
    return [...this.data.documents, ...skipped];
  }

  draw() {
    const { folder, indexing, last_sync: synced } = this.data;
    const all = this.rows();
    const chunks = all.reduce((n, d) => n + (d.chunks || 0), 0);
    this.summary(
      h("code", null, folder || "no folder"),
      ` · ${count(all.filter((d) => d.state === "indexed").length, "document")}, ${count(chunks, "passage")}`,
      indexing ? h("span.live", null, h("span.spinner"), "indexing…") : synced ? ` · looked at ${ago(synced)}` : "",
    );
    const number = (state) => (state === "all" ? all.length : all.filter((d) => d.state === state).length);
    const focused = this.states.contains(document.activeElement) ? this.state : null;
    fill(
      this.states,
      STATES.filter(([state]) => state === "all" || number(state)).map(([state, label]) =>
        h(
          "button.pill",
          {
            type: "button",
            "aria-pressed": String(this.state === state),
            dataset: { state },
            on: { click: () => ((this.state = state), (this.limit = ROWS), this.draw()) },
          },
          label,
          h("span", null, number(state)),
        ),
      ),
    );
    if (focused) this.states.querySelector(`[data-state="${focused}"]`)?.focus();
    if (!all.length)
      return fill(
        this.table,
        indexing
          ? empty("doc", "Indexing…", "Documents appear here as they are read.")
          : empty(
              "doc",
              "No documents yet",
              "Run ",
              h("code", null, "idiolect up FOLDER"),
              folder ? [", or put files into ", h("code", null, folder), "."] : ".",
            ),
      );
    const found = all.filter(
      (d) =>
        (this.state === "all" || d.state === this.state) &&
        (!this.filter || `${d.path} ${d.title}`.toLowerCase().includes(this.filter)),
    );
    const { by, down } = this.sort;
    found.sort((a, b) => compare(a[by], b[by]) * (down ? -1 : 1) || compare(a.path, b.path));
    if (!found.length) return fill(this.table, h("p.note", null, "No document matches."));
    const rest = found.length - this.limit;
    fill(
      this.table,
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            COLUMNS.map((c) => this.header(c)),
          ),
        ),
        h("tbody", null, found.slice(0, this.limit).map(row)),
      ),
      rest > 0 &&
        h(
          "button.more",
          { type: "button", on: { click: () => ((this.limit += 1000), this.draw()) } },
          `Show ${Math.min(rest, 1000)} more`,
        ),
    );
    return undefined;
  }

  header([name, label]) {
    const { by, down } = this.sort;
    const here = by === name;
    const sort = () => {
      this.sort = { by: name, down: here ? !down : name !== "path" && name !== "format" };
      this.draw();
      this.table.querySelector(`th.is-${name} button`)?.focus();
    };
    return h(
      "th",
      { class: `is-${name}`, scope: "col", "aria-sort": here ? (down ? "descending" : "ascending") : null },
      h("button", { type: "button", on: { click: sort } }, label, here && icon("chevron")),
    );
  }
}

function compare(a, b) {
  if (typeof a === "number" || typeof b === "number") return (a ?? -1) - (b ?? -1);
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true, sensitivity: "base" });
}

function row(d) {
  const cut = d.path.lastIndexOf("/") + 1;
  const name = [h("span.folder", null, d.path.slice(0, cut)), h("span.file", null, d.path.slice(cut))];
  const title = d.title && d.title !== d.path.slice(cut) && h("span.title", null, d.title);
  const open = () => go({ doc: d.path, span: null });
  const cell = (column, text) =>
    h("td", { class: `is-${column}`, dataset: { label: COLUMNS.find(([c]) => c === column)[1] } }, text);
  return h(
    "tr",
    { class: `is-${d.state}` },
    h(
      "td.is-path",
      null,
      d.state === "indexed"
        ? h("button.link.name", { type: "button", title: d.path, on: { click: open } }, name)
        : h("span.name", { title: d.path }, name),
      title,
      d.state !== "indexed" &&
        h(
          "p.reason",
          null,
          h("span.tag", null, d.state === "failed" && icon("warn"), d.state),
          " ",
          d.reason || (d.state === "empty" ? "no text in it" : ""),
        ),
    ),
    cell("format", d.format || "–"),
    cell("chunks", d.state === "indexed" ? d.chunks.toLocaleString("en") : "–"),
    cell("bytes", typeof d.bytes === "number" ? bytes(d.bytes) : "–"),
    cell("mtime", d.mtime ? ago(d.mtime) : "–"),
  );
}
