// The list of conversations.

import { api } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { failed, skeleton } from "../parts.js";
import { format } from "../router.js";
import { ago, day } from "../text.js";

export class Sidebar {
  constructor({ fresh, picked }) {
    this.picked = picked;
    this.items = null;
    this.current = "";
    this.busy = new Set();
    this.list = h("div.list", null, skeleton(5));
    this.node = h(
      "nav.sidebar",
      { "aria-label": "Conversations" },
      h("button.new", { type: "button", on: { click: fresh } }, icon("plus"), "New conversation"),
      this.list,
    );
  }

  async load() {
    try {
      this.items = await api.conversations();
      this.draw();
    } catch (error) {
      if (!this.items)
        fill(
          this.list,
          failed(error, () => this.load()),
        );
    }
  }

  /** @param {string} id the conversation on show */
  mark(id) {
    this.current = id;
    for (const link of this.list.querySelectorAll("a")) {
      if (link.dataset.id === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  setBusy(id, busy) {
    if (busy) this.busy.add(id);
    else this.busy.delete(id);
    this.list.querySelector(`a[data-id="${CSS.escape(id)}"]`)?.classList.toggle("busy", busy);
  }

  draw() {
    if (!this.items.length)
      return fill(this.list, h("p.note", null, "Your conversations will be listed here. They stay on this machine."));
    const groups = new Map();
    for (const item of this.items) {
      const name = day(item.updated);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(item);
    }
    fill(
      this.list,
      [...groups].map(([name, items]) =>
        h(
          "section",
          null,
          h("h2", null, name),
          h(
            "ul",
            null,
            items.map((item) => h("li", null, this.link(item))),
          ),
        ),
      ),
    );
    this.mark(this.current);
    return undefined;
  }

  link(item) {
    return h(
      "a",
      {
        href: format({ tab: "chat", id: item.id }),
        title: `${item.title || "Untitled"}\n${ago(item.updated)}`,
        class: this.busy.has(item.id) ? "busy" : "",
        dataset: { id: item.id },
        on: { click: this.picked },
      },
      item.title || "Untitled",
    );
  }
}
