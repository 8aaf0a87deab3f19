// The exact prompt of one model call, token by token.

import { h } from "../dom.js";
import { section } from "../parts.js";
import { count } from "../text.js";

const SPECIAL =
  /^(<\|.*\|>|<\/?s>|<(bos|eos|pad|unk|start_of_turn|end_of_turn|mask|image)>|\[\/?(INST|SYS|CLS|SEP|PAD|MASK|UNK)\]|<<\/?SYS>>)$/i;
const FEW = 400; // tokens drawn at first

/** A section for each purpose. A purpose with many calls (a score for each sentence) is folded. */
export function prompts(all) {
  const purposes = new Map();
  for (const one of all) purposes.set(one.purpose, [...(purposes.get(one.purpose) || []), one]);
  return [...purposes].map(([purpose, same]) => {
    const title = purpose === "answer" || !purpose ? "Prompt" : `Prompt: ${purpose}`;
    if (same.length === 1) return section(title, ...prompt(same[0], title));
    const note = `${same.length} calls, exactly as the model saw them`;
    return section(
      title,
      note,
      same.map((one) => folded(one, title)),
    );
  });
}

function folded(one, title) {
  const words = (one.pieces || []).join("").replace(/\s+/g, " ").trim();
  const box = h(
    "details.call",
    null,
    h("summary", null, h("span", null, words), h("small", null, count(one.ids?.length || 0, "token"))),
  );
  box.addEventListener("toggle", () => {
    if (box.childElementCount === 1) box.append(...prompt(one, title).slice(1).filter(Boolean)); // drawn when opened
  });
  return box;
}

/** [a note, the parts of the section] */
function prompt({ ids, pieces, messages, trimmed }, title) {
  const trim = trimmed && h("p.note", null, trimmed);
  if (!ids?.length) {
    const turns = (messages || []).map((m) => h("div.turn", null, h("strong", null, m.role), h("p", null, m.content)));
    return ["as messages: the upstream makes the tokens", trim, ...turns];
  }
  const box = h("div.tokens.prompt", { tabindex: "0", "aria-label": `${title}, token by token` });
  const draw = (from, to) => box.append(...ids.slice(from, to).flatMap((id, i) => token(id, pieces[from + i] ?? "")));
  draw(0, FEW);
  const more =
    ids.length > FEW &&
    h(
      "button.more",
      { type: "button", on: { click: () => (draw(FEW, ids.length), more.remove()) } },
      `Show all ${ids.length}`,
    );
  return [`exactly as the model saw it, ${count(ids.length, "token")}`, trim, box, more];
}

/** White space is made visible; a line end stays one. */
export function token(id, piece) {
  const special = SPECIAL.test(piece.trim());
  const chip = h(
    "span.token",
    { class: special ? "special" : "", title: `${JSON.stringify(piece)} · id ${id}`, dataset: { id } },
    piece === "" ? "∅" : piece.replaceAll("\n", "↵").replaceAll("\t", "⇥"),
  );
  return piece.includes("\n") ? [chip, h("br")] : [chip];
}
