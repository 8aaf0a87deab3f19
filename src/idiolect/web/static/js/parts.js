// Small pieces that every tab uses: empty states, skeletons, failures, score bars, dialogs.

import { append, h, icon, iconButton } from "./dom.js";
import { score } from "./text.js";

export function empty(name, title, ...text) {
  return h("div.empty", null, icon(name), h("h2", null, title), h("p", null, ...text));
}

export function skeleton(lines = 6) {
  const widths = [82, 96, 64, 90, 74, 88, 58, 94];
  return h(
    "div.skeleton",
    { role: "status", "aria-label": "Loading" },
    Array.from({ length: lines }, (_, i) => h("span", { vars: { "--w": `${widths[i % widths.length]}%` } })),
  );
}

/** What went wrong, in the server's words, and a way on. */
export function failed(error, retry, label = "Try again") {
  return h(
    "div.failure",
    { role: "alert" },
    icon("warn"),
    h(
      "div",
      null,
      h("p", null, error.message || String(error)),
      retry && h("button.link", { type: "button", on: { click: retry } }, label),
    ),
  );
}

/** The scores of one passage as bars; `best` holds the largest absolute score of each ranker in the list. */
export function scoreBars(scores, best) {
  const rows = Object.entries(scores || {}).filter(([, value]) => typeof value === "number");
  return h(
    "dl.scores",
    null,
    rows.map(([name, value]) => {
      const top = best?.[name] || { low: 0, high: Math.abs(value) || 1 };
      const share = top.high > top.low ? (value - top.low) / (top.high - top.low) : 1;
      return h(
        "div",
        null,
        h("dt", null, name),
        h(
          "dd",
          null,
          h("span.bar", { vars: { "--share": Math.max(0.02, Math.min(1, share)).toFixed(3) } }),
          h("span.number", null, score(value)),
        ),
      );
    }),
  );
}

/** For each ranker the range its bars span: from 0 (or the lowest, where scores are negative) to the best. */
export function scoreRanges(passages) {
  const out = {};
  for (const passage of passages) {
    for (const [name, value] of Object.entries(passage.scores || {})) {
      if (typeof value !== "number") continue;
      out[name] ||= { low: 0, high: -Infinity };
      out[name].low = Math.min(out[name].low, value < 0 ? value * 1.15 : 0);
      out[name].high = Math.max(out[name].high, value);
    }
  }
  return out;
}

export function place(passage) {
  const parts = [...(passage.heading || [])];
  if (passage.page) parts.push(`page ${passage.page}`);
  return parts.join(" › ");
}

/** A modal dialog with a title and a close button; returns the element, already open. It removes itself. */
export function dialog(title, ...children) {
  const node = h("dialog.dialog", { "aria-label": title });
  const close = () => node.close();
  append(node, [h("header", null, h("h2", null, title), iconButton("close", "Close", close)), ...children]);
  node.addEventListener("close", () => node.remove());
  node.addEventListener("click", (event) => event.target === node && close()); // the backdrop
  document.body.append(node);
  node.showModal();
  return node;
}

/** A titled part of a view, with a short note beside the title. */
export function section(title, note, ...children) {
  return h("section.part", null, h("h2", null, title, note && h("small", null, note)), ...children);
}

let toastTimer = 0;

/** A short message at the foot of the page, read aloud. */
export function toast(text) {
  let node = document.querySelector(".toast");
  if (!node) document.body.append((node = h("div.toast", { role: "status", popover: "manual" })));
  node.textContent = text;
  node.hidePopover?.();
  node.showPopover?.(); // above an open dialog
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => node.hidePopover?.(), 2400);
}
