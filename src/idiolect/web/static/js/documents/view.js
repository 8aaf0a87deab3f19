// The Documents tab: the files with what became of them, and a search to try the index.

import { fill, h, show } from "../dom.js";
import { format, go, route } from "../router.js";
import { onServer, server } from "../server.js";
import { Files } from "./files.js";
import { Playground } from "./playground.js";

const PARTS = { "": "Files", search: "Try the search" };

export class DocumentsView {
  constructor() {
    this.files = new Files();
    this.playground = new Playground();
    this.links = Object.entries(PARTS).map(([id, name]) =>
      h("a", { href: format({ tab: "documents", id }), dataset: { id } }, name),
    );
    this.head = h("p.lead");
    this.node = h(
      "div.documents",
      null,
      h(
        "div.column",
        null,
        h("header", null, h("h1", null, "Documents"), this.head),
        h("nav.segments", { "aria-label": "Parts of this view" }, this.links),
        this.files.node,
        this.playground.node,
      ),
    );
    this.files.summary = (...parts) => fill(this.head, ...parts);
    this.visible = false;
    onServer(() => this.routed(route()));
  }

  routed({ tab, id }) {
    if (tab !== "documents") {
      this.visible = false;
      this.files.pause();
      return;
    }
    const part = id in PARTS ? id : "";
    for (const link of this.links) {
      if (link.dataset.id === part) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    show(this.files.node, part === "");
    show(this.playground.node, part === "search");
    if (this.visible || server.state !== "ready") return;
    this.visible = true;
    this.files.load();
  }

  focusSearch() {
    if (route().id !== "search") go({ tab: "documents", id: "search" });
    this.playground.input.focus();
  }
}
