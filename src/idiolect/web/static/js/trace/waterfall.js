// The stages of an answer one below the other, in the order in which they ended.

import { h } from "../dom.js";
import { section } from "../parts.js";
import { seconds } from "../text.js";

export function waterfall(timings, total) {
  const stages = timings.filter((t) => !t.stage.startsWith("layer:") && t.stage !== "total");
  if (!stages.length) return null;
  const sum = stages.reduce((s, t) => s + t.seconds, 0);
  const width = Math.max(total || 0, sum) || 1;
  let at = 0;
  const rows = stages.map((t) => {
    const row = h(
      "li",
      null,
      h("span.stage", null, t.stage),
      h(
        "span.track",
        null,
        h("span.bar", { vars: { "--from": (at / width).toFixed(5), "--share": (t.seconds / width).toFixed(5) } }),
      ),
      h("span.number", null, seconds(t.seconds)),
    );
    at += t.seconds;
    return row;
  });
  const rest = total ? total - sum : 0;
  return section(
    "Time",
    rest > 0.001 ? `${seconds(total)}, of which ${seconds(rest)} outside these stages` : seconds(width),
    h("ol.waterfall", null, rows),
  );
}
