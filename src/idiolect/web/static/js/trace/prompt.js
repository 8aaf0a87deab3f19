// The exact prompt of one model call, token by token.

import { h } from "../dom.js";
import { section } from "../parts.js";
import { count } from "../text.js";

const SPECIAL = /^(<\|.*\|>|<\/?s>|<(bos|eos|pad|unk|start_of_turn|end_of_turn|mask|image)>|\[\/?(INST|SYS|CLS|SEP|PAD|MASK|UNK)\]|<<\/?SYS>>)$/i;
const FEW = 400; // tokens drawn at first

export function prompt({ ids, pieces, messages, purpose, trimmed }) {
  const title = purpose === "answer" || !purpose ? "Prompt" : `Prompt: ${purpose}`;
  const trim = trimmed && h("p.note", null, trimmed);
  if (!ids?.length) {
    return section(title, "as messages: the upstream makes the tokens", trim, (messages || []).map((m) => h("div.turn", null, h("strong", null, m.role), h("p", null, m.content))));
  }
  const box = h("div.tokens.prompt", { tabindex: "0", "aria-label": `${title}, token by token` });
  const draw = (from, to) => box.append(...ids.slice(from, to).flatMap((id, i) => token(id, pieces[from + i] ?? "")));
  draw(0, FEW);
  const more = ids.length > FEW && h("button.more", { type: "button", on: { click: () => (draw(FEW, ids.length), more.remove()) } }, `Show all ${ids.length}`);
  return section(title, `exactly as the model saw it, ${count(ids.length, "token")}`, trim, box, more);
}

/** White space is made visible; a line end stays one. */
export function token(id, piece) {
  const special = SPECIAL.test(piece.trim());
  const chip = h("span.token", { class: special ? "special" : "", title: `${JSON.stringify(piece)} · id ${id}`, dataset: { id } }, piece === "" ? "∅" : piece.replaceAll("\n", "↵").replaceAll("\t", "⇥"));
  return piece.includes("\n") ? [chip, h("br")] : [chip];
}
