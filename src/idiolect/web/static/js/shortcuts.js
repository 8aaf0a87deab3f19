// The keyboard: single keys outside of text fields, and the dialog that lists them.

import { h } from "./dom.js";
import { dialog } from "./parts.js";

const KEYS = [
  [
    "Everywhere",
    [
      ["1 2 3 4", "Chat, Trace, Documents, Evals"],
      ["?", "This list"],
      ["t", "Theme: system, light, dark"],
      ["Esc", "Close what is open; stop the answer"],
      ["Tab", "To the next control"],
      ["← →", "Between tabs, when one has the focus"],
    ],
  ],
  [
    "Chat",
    [
      ["/", "To the question box"],
      ["Enter", "Send"],
      ["Shift Enter", "New line"],
      ["n", "New conversation"],
      ["b", "Show or hide the list"],
      ["r", "Regenerate the last answer"],
      ["e", "Edit the last question"],
    ],
  ],
  ["Trace", [["← →", "Between tokens, when one has the focus"]]],
  ["Documents", [["/", "To the search box"]]],
  [
    "Arena",
    [
      ["a d", "The left, the right answer is better"],
      ["s", "Neither is"],
      ["n", "The next pair"],
    ],
  ],
];

export function showShortcuts() {
  if (document.querySelector("dialog.shortcuts")) return;
  const node = dialog(
    "Keyboard",
    h(
      "div.keys",
      null,
      KEYS.map(([title, rows]) =>
        h(
          "section",
          null,
          h("h3", null, title),
          h(
            "dl",
            null,
            rows.map(([keys, text]) =>
              h(
                "div",
                null,
                h(
                  "dt",
                  null,
                  keys.split(" ").map((k) => h("kbd", null, k)),
                ),
                h("dd", null, text),
              ),
            ),
          ),
        ),
      ),
    ),
  );
  node.classList.add("shortcuts");
}

/** @param {Record<string, () => void>} actions by key; `Escape` always, the rest only outside of text fields */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (!document.querySelector("dialog:modal")) actions.Escape(event);
      return;
    }
    if (event.target.closest("input, textarea, select, [contenteditable]") || document.querySelector("dialog:modal"))
      return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
