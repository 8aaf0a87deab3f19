// The Evals tab: runs, two of them side by side, and the arena.

import { h, show } from "../dom.js";
import { format, route } from "../router.js";
import { onServer, server } from "../server.js";
import { Arena } from "./arena.js";
import { Items } from "./items.js";
import { Runs } from "./runs.js";

const PARTS = { "": "Runs", arena: "Arena" };

export class EvalsView {
  constructor() {
    this.runs = new Runs();
    this.items = new Items();
    this.arena = new Arena();
    this.links = Object.entries(PARTS).map(([id, name]) =>
      h("a", { href: format({ tab: "evals", id }), dataset: { id } }, name),
    );
    this.node = h(
      "div.evals",
      null,
      h(
        "div.column",
        null,
        h(
          "header",
          null,
          h("h1", null, "Evals"),
          h("p.lead", null, "Every figure has its interval, and every answer can be read."),
        ),
        h("nav.segments", { "aria-label": "Parts of this view" }, this.links),
        this.runs.node,
        this.items.node,
        this.arena.node,
      ),
    );
    onServer(() => this.routed(route()));
  }

  routed({ tab, id }) {
    if (tab !== "evals") return (this.at = null);
    const part = id === "arena" ? "arena" : "";
    for (const link of this.links) {
      if (link.dataset.id === part) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    show(this.runs.node, id === "");
    show(this.items.node, id !== "" && id !== "arena");
    show(this.arena.node, id === "arena");
    if (server.state !== "ready" || this.at === id) return undefined;
    this.at = id;
    if (id === "") this.runs.load();
    else if (id === "arena") this.arena.load();
    else this.items.open(id);
    this.node.scrollTop = 0;
    return undefined;
  }

  /** A key that means something in the arena; says whether it did. */
  press(key) {
    if (route().tab === "evals" && route().id === "arena") this.arena.press(key);
  }
}
