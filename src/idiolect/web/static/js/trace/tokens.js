// The generated tokens, coloured by how sure the model was; hover or focus shows what else it considered.

import { fill, h } from "../dom.js";
import { section } from "../parts.js";
import { count, minus } from "../text.js";

const STEPS = [
  [0.9, "over 90 %"],
  [0.6, "60–90 %"],
  [0.3, "30–60 %"],
  [0.1, "10–30 %"],
  [0, "under 10 %"],
];

const level = (p) => STEPS.findIndex(([least]) => p >= least);
const percent = (p) =>
  p >= 0.9995 ? "100 %" : p >= 0.1 ? `${(p * 100).toFixed(1)} %` : `${(p * 100).toPrecision(2)} %`;
const visible = (text) => (text === "" ? "∅" : text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣"));

export function generated(tokens, index) {
  const known = tokens.filter((t) => typeof t.logprob === "number");
  const mean = known.length ? known.reduce((s, t) => s + t.logprob, 0) / known.length : null;
  const panel = h(
    "div.alternatives",
    { "aria-live": "polite" },
    h("p.note", null, "Point at a token, or move with the arrow keys."),
  );
  const box = h("div.tokens.made", { role: "group", "aria-label": "Generated tokens" });
  tokens.forEach((t, i) => {
    const p = typeof t.logprob === "number" ? Math.exp(t.logprob) : null;
    box.append(
      h(
        "button.token",
        {
          type: "button",
          tabindex: i ? "-1" : "0",
          class: p === null ? "" : `p${level(p)}`,
          dataset: { i },
          "aria-label": `${visible(t.text)}${p === null ? "" : `, ${percent(p)}`}`,
        },
        t.text === "" ? "∅" : t.text.replaceAll("\n", "↵"),
      ),
    );
    if (t.text.includes("\n")) box.append(h("br"));
  });
  const pick = (target) => {
    const button = target.closest?.("button.token");
    if (!button) return;
    box.querySelector(".picked")?.classList.remove("picked");
    button.classList.add("picked");
    alternatives(panel, tokens[Number(button.dataset.i)]);
  };
  box.addEventListener("pointerover", (e) => pick(e.target));
  box.addEventListener("focusin", (e) => pick(e.target));
  box.addEventListener("keydown", (e) => {
    const all = [...box.querySelectorAll("button.token")];
    const at = all.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (next === undefined || !all[next]) return;
    e.preventDefault();
    all[at].tabIndex = -1;
    all[next].tabIndex = 0;
    all[next].focus();
  });
  const note = [
    count(tokens.length, "token"),
    mean === null ? "" : `mean log-prob ${minus(mean.toFixed(3))}`,
    mean === null ? "" : `perplexity ${Math.exp(-mean).toFixed(2)}`,
  ]
    .filter(Boolean)
    .join(" · ");
  if (!tokens.length)
    return section(
      "Answer",
      "no tokens were sampled",
      h("p.note", null, "The words were copied from the sources, or came from an upstream without log-probabilities."),
    );
  return section(
    index === null ? "Answer" : `Answer, choice ${index + 1}`,
    note,
    mean !== null && legend(),
    h("div.made-grid", null, box, panel),
  );
}

function legend() {
  return h(
    "ul.legend",
    { "aria-label": "Probability of each token" },
    STEPS.map(([, label], i) => h("li", null, h("span.token", { class: `p${i}`, "aria-hidden": "true" }, "a"), label)),
  );
}

function alternatives(panel, t) {
  const rows = (t.top || []).map(([id, text, logprob]) => ({ id, text, p: Math.exp(logprob) }));
  if (typeof t.logprob === "number" && !rows.some((r) => r.id === t.id))
    rows.push({ id: t.id, text: t.text, p: Math.exp(t.logprob) });
  fill(
    panel,
    h(
      "h3",
      null,
      h("span.token", null, visible(t.text)),
      h(
        "small",
        null,
        `id ${t.id}${typeof t.logprob === "number" ? ` · log-prob ${minus(t.logprob.toFixed(3))}` : ""}`,
      ),
    ),
    h(
      "ul",
      null,
      rows.map((r) =>
        h(
          "li",
          { class: r.id === t.id ? "chosen" : "" },
          h("span.token", null, visible(r.text)),
          h("span.track", null, h("span.bar", { vars: { "--share": Math.max(0.004, r.p).toFixed(4) } })),
          h("span.number", null, percent(r.p)),
        ),
      ),
    ),
    !rows.length && h("p.note", null, "No probability was recorded for this token."),
  );
}
