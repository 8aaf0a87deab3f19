// Thumbs, and the dialog for a reason and a corrected answer. The store has it before the thumb turns.

import { api } from "../api.js";
import { h, iconButton } from "../dom.js";
import { dialog, toast } from "../parts.js";

const REASONS = ["Wrong", "Incomplete", "Wrong source", "Not what I asked", "Hard to read"];

export const valueOf = (feedback) => (typeof feedback === "number" ? feedback : feedback?.value || 0);

/** @param {object} node the answer; `changed` redraws it */
export function thumbs(node, changed) {
  const value = valueOf(node.feedback);
  const send = async (wanted) => {
    const next = wanted === value ? 0 : wanted;
    if (!(await store(node, { value: next }))) return;
    changed();
    if (next < 0) explain(node, changed);
    else toast(next ? "Saved" : "Feedback withdrawn");
  };
  const button = (name, label, wanted) =>
    iconButton(name, label, () => send(wanted), { "aria-pressed": String(value === wanted), disabled: !node.trace });
  return [
    button("up", "Good answer", 1),
    button("down", "Bad answer", -1),
    value !== 0 &&
      h(
        "button.link.subtle.small",
        { type: "button", on: { click: () => explain(node, changed) } },
        node.feedback?.reason || node.feedback?.correction ? "Your note" : "Add a note",
      ),
  ];
}

async function store(node, body) {
  try {
    await api.feedback({ trace: node.trace, node: node.id, ...body });
  } catch (error) {
    toast(`Not saved: ${error.message}`);
    return false;
  }
  node.feedback = body;
  return true;
}

function explain(node, changed) {
  const good = valueOf(node.feedback) > 0;
  const reason = h("input", {
    id: "reason",
    type: "text",
    maxlength: "2000",
    autocomplete: "off",
    placeholder: good ? "What was good about it?" : "What was wrong?",
    value: node.feedback?.reason || "",
  });
  const correction = h("textarea", {
    id: "correction",
    rows: "5",
    maxlength: "20000",
    placeholder: "The answer you would have wanted",
    value: node.feedback?.correction || "",
  });
  const pick = (text) =>
    h("button.pill", { type: "button", on: { click: () => ((reason.value = text), reason.focus()) } }, text);
  const save = async (event) => {
    event.preventDefault();
    const body = { value: valueOf(node.feedback), reason: reason.value.trim(), correction: correction.value.trim() };
    for (const name of ["reason", "correction"]) if (!body[name]) delete body[name];
    if (!(await store(node, body))) return;
    changed();
    box.close();
    toast("Saved. Thank you");
  };
  const copy = () => ((correction.value = node.content), correction.focus());
  const form = h(
    "form.stack",
    { on: { submit: save } },
    h("label", { for: "reason" }, "Reason"),
    reason,
    good ? null : h("div.pills", null, REASONS.map(pick)),
    h(
      "div.label-row",
      null,
      h("label", { for: "correction" }, "Corrected answer ", h("small", null, "optional")),
      h("button.link", { type: "button", on: { click: copy } }, "Start from the answer"),
    ),
    correction,
    h(
      "p.note",
      null,
      "Your thumb is saved already. All of it stays in this machine's store, where it can become training data.",
    ),
    h(
      "div.buttons",
      null,
      h("button", { type: "button", on: { click: () => box.close() } }, "Skip"),
      h("button.primary", { type: "submit" }, "Save"),
    ),
  );
  const box = dialog(good ? "Good answer" : "Bad answer", form);
  reason.focus();
}
