// The Trace tab: recent answers, and how one of them was made.

import { api } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { format, route } from "../router.js";
import { onServer, server } from "../server.js";
import { ago, count, seconds } from "../text.js";
import { detail } from "./detail.js";

export class TraceView {
  constructor() {
    this.list = h("nav.trace-list", { "aria-label": "Recent answers" });
    this.detail = h("div.trace-detail", { tabindex: "-1" });
    this.node = h("div.traces", null, this.list, this.detail);
    this.id = null;
    this.items = null;
    onServer(() => route().tab === "trace" && this.routed(route()));
  }

  routed({ tab, id }) {
    if (tab !== "trace") return (this.visible = false);
    if (server.state === "ready" && !this.visible) {
      this.visible = true;
      this.load();
    }
    this.node.classList.toggle("one", Boolean(id));
    if (this.id !== id || (id && server.state === "ready" && !this.drawn)) {
      this.id = id;
      this.open(id);
    }
    this.mark();
    return undefined;
  }

  async load() {
    if (!this.items) fill(this.list, skeleton(6));
    try {
      this.items = await api.traces();
      this.draw();
    } catch (error) {
      this.items = null;
      fill(
        this.list,
        failed(error, () => this.load()),
      );
    }
  }

  draw() {
    const none = !this.items.length;
    fill(
      this.list,
      h("h2", null, "Recent answers"),
      none
        ? h("p.note", null, "Every answer of this server, from the page or the API, will be listed here.")
        : h(
            "ul",
            null,
            this.items.map((t) =>
              h(
                "li",
                null,
                h(
                  "a",
                  { href: format({ tab: "trace", id: t.trace }), dataset: { id: t.trace } },
                  h("span.q", null, t.question || "(no question)"),
                  h(
                    "span.meta",
                    null,
                    [
                      t.mode,
                      typeof t.seconds === "number" ? seconds(t.seconds) : "not finished",
                      t.tokens ? count(t.tokens, "token") : "",
                      ago(t.started),
                    ]
                      .filter(Boolean)
                      .join(" · "),
                  ),
                ),
              ),
            ),
          ),
    );
    this.mark();
    if (!this.id) this.open("");
  }

  mark() {
    for (const link of this.list.querySelectorAll("a")) {
      if (link.dataset.id === this.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async open(id) {
    this.drawn = false;
    if (!id) {
      fill(
        this.detail,
        this.items && !this.items.length
          ? empty(
              "trace",
              "No answers yet",
              "Ask something in Chat; its trace shows the exact prompt, the passages and every token.",
            )
          : empty(
              "trace",
              "A glass box",
              "Pick an answer to see the exact prompt, the passages with their scores, the time of each stage, and how sure the model was of every token.",
            ),
      );
      return;
    }
    if (server.state !== "ready") return;
    this.drawn = true;
    fill(this.detail, skeleton(12));
    try {
      const trace = await api.trace(id);
      if (this.id === id) {
        fill(
          this.detail,
          h("a.back", { href: "#/trace" }, icon("left"), "All answers"),
          detail(
            trace,
            this.items?.find((t) => t.trace === id),
          ),
        );
        this.detail.scrollTop = 0;
      }
    } catch (error) {
      if (this.id === id)
        fill(
          this.detail,
          h("a.back", { href: "#/trace" }, icon("left"), "All answers"),
          error.status === 404
            ? empty("none", "No such trace", "It is not in this server's store.")
            : failed(error, () => this.open(id)),
        );
    }
  }
}
