// One turn on the page: a question with its tools, or an answer with its mode, body, sources and tools.

import { fill, h, icon, iconButton } from "../dom.js";
import { failed, toast } from "../parts.js";
import { copyText, count, seconds } from "../text.js";
import { AnswerBody, sources } from "./answer.js";
import { thumbs } from "./feedback.js";
import { unsupported } from "./support.js";

/** @param {object} view what a turn may ask for: tree, regenerate, edit, show, busy */
export class Question {
  constructor(node, view) {
    Object.assign(this, { data: node, view, editing: false });
    this.node = h("article.question", { "aria-label": "Question" });
    this.draw();
  }

  draw() {
    if (this.editing) return this.drawEditor();
    fill(
      this.node,
      h("h2.ask", null, this.data.content),
      h(
        "div.tools",
        null,
        switcher(this.data, this.view),
        iconButton("edit", "Edit and ask again", () => this.edit(true), { disabled: this.view.busy() }),
        iconButton("copy", "Copy question", () => copyText(this.data.content).then(() => toast("Copied"))),
      ),
    );
    return undefined;
  }

  edit(on) {
    this.editing = on;
    this.draw();
    if (!on) this.node.querySelector("button[aria-label^=Edit]")?.focus();
  }

  drawEditor() {
    const box = h("textarea", { rows: "3", "aria-label": "Edit the question", value: this.data.content });
    const send = () => {
      const text = box.value.trim();
      if (!text || this.view.busy()) return;
      this.editing = false;
      this.view.edit(this.data, text);
    };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.edit(false);
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    fill(
      this.node,
      h(
        "div.editor",
        null,
        box,
        h(
          "div.buttons",
          null,
          h("span.note", null, "The first version is kept as a branch."),
          h("button", { type: "button", on: { click: () => this.edit(false) } }, "Cancel"),
          h("button.primary", { type: "button", on: { click: send } }, "Ask again"),
        ),
      ),
    );
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }
}

export class Answer {
  constructor(node, view) {
    Object.assign(this, { data: node, view });
    this.body = new AnswerBody(node);
    this.head = h("div.mode");
    this.foot = h("div.foot");
    this.node = h("article.answer", { "aria-label": "Answer" }, this.head, this.body.node, this.foot);
    this.draw();
  }

  push(text) {
    this.body.push(text);
  }

  /** Everything again: the answer has ended, or its meta data changed. */
  draw() {
    this.body.draw();
    this.drawFrame();
  }

  drawFrame() {
    const { state } = this.data;
    const live = state === "waiting" || state === "writing";
    this.node.setAttribute("aria-busy", String(live)); // the log reads an answer when it is whole
    this.node.classList.toggle("live", live);
    fill(this.head, live ? null : modeLine(this.data));
    this.head.hidden = !this.head.hasChildNodes();
    const quotes = this.body.node.classList.contains("quotes");
    const focused = this.foot.contains(document.activeElement)
      ? document.activeElement.getAttribute("aria-label")
      : null;
    fill(
      this.foot,
      state === "failed" && failed(this.data.error, () => this.view.regenerate(this.data), "Ask again"),
      state === "stopped" && h("p.note", null, "Stopped."),
      this.data.finish === "length" && h("p.note", null, "Cut off at the length limit."),
      (this.data.notes || []).filter((n) => !["unsupported", "speed"].includes(n.code)).map((n) => h("p.note", null, n.text)),
      !live && !quotes && sources(this.data.citations),
      !live && this.tools(),
    );
    if (focused)
      [...this.foot.querySelectorAll("[aria-label]")].find((n) => n.getAttribute("aria-label") === focused)?.focus();
  }

  tools() {
    const { data, view } = this;
    const redraw = () => this.drawFrame();
    return h(
      "div.tools",
      null,
      switcher(data, view),
      iconButton("copy", "Copy answer", () => copyText(data.content).then(() => toast("Copied")), {
        disabled: !data.content,
      }),
      iconButton("redo", "Regenerate", () => view.regenerate(data), { disabled: view.busy() }),
      thumbs(data, redraw),
      data.trace &&
        h(
          "a.icon-button",
          {
            href: `#/trace/${encodeURIComponent(data.trace)}`,
            title: "Trace: how this answer was made",
            "aria-label": "Trace of this answer",
          },
          icon("trace"),
        ),
      h("span.cost", null, cost(data)),
    );
  }
}

function cost({ timings, seconds: known, model }) {
  const total =
    known ??
    (timings
      ? Object.entries(timings).reduce(
          (sum, [stage, s]) => (stage.startsWith("layer:") || stage === "total" ? sum : sum + s),
          0,
        )
      : 0);
  return [model, total ? seconds(total) : ""].filter(Boolean).join(" · ");
}

const MODE = {
  quote: ["quote", "Quoted from your documents"],
  generate: ["spark", "Generated from your documents"],
  refuse: ["none", "Nothing relevant found"],
  plain: ["spark", "The bare model, without your documents"],
};

function modeLine(answer) {
  const mode = typeof answer.mode === "object" ? answer.mode?.mode : answer.mode;
  if (!MODE[mode]) return null;
  const [name, label] = MODE[mode];
  const why = answer.why || answer.mode?.why || "";
  const doubts = mode === "generate" ? unsupported(answer).length : 0;
  const said = h("span.label", { class: `is-${mode}` }, icon(name), label);
  return [
    !why || mode === "refuse"
      ? said
      : h("details", null, h("summary", null, said, h("small", null, "why?")), h("p", null, because(why))),
    mode === "refuse" && why && h("span.why", null, why),
    mode === "generate" &&
      !doubts &&
      answer.timings?.check !== undefined &&
      h("span.why", null, "Every sentence was found in the sources"),
    doubts > 0 &&
      h(
        "span.why",
        null,
        icon("warn"),
        `${count(doubts, "sentence")} marked: no passage supports ${doubts === 1 ? "it" : "them"}`,
      ),
  ];
}

const because = (why) => `Because ${why}.`.replace("Because asked for; ", "You asked for this mode. By itself: ");

/** "2/3" with arrows, when a turn has siblings. */
function switcher(node, view) {
  const all = view.tree().siblings(node);
  if (all.length < 2) return null;
  const at = all.indexOf(node);
  const step = (name, label, to) =>
    iconButton(name, label, () => view.show(all[to]), { disabled: !all[to] || view.busy() });
  return h(
    "span.switcher",
    { role: "group", "aria-label": "Versions" },
    step("left", "Previous version", at - 1),
    h("span.at", { "aria-label": `Version ${at + 1} of ${all.length}` }, `${at + 1}/${all.length}`),
    step("right", "Next version", at + 1),
  );
}
