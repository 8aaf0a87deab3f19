// Figures with their intervals, as words and as a line on a scale.

import { h } from "../dom.js";
import { minus, score } from "../text.js";

/** A share as percent, anything else as a number. */
export function value(x, metric) {
  if (typeof x !== "number") return "–";
  return metric?.share ? minus(`${(100 * x).toFixed(1)} %`) : score(x);
}

/** "41.2 %" with its interval below; `figure` is {value, low, high, n}. */
export function figure(figure, metric) {
  if (!figure) return h("span.soft", null, "–");
  return h(
    "span.figure",
    null,
    h("strong", null, value(figure.value, metric)),
    h("small", null, `${ends(figure, (x) => value(x, metric))}n = ${figure.n}`),
  );
}

/** "38.1 % to 44.2 %, ", and nothing where there is no interval. */
export function ends({ low, high }, say) {
  return typeof low === "number" && typeof high === "number" ? `${say(low)} to ${say(high)}, ` : "";
}

/** An interval drawn between `low` and `high`; `zero` marks a value on the way. */
export function interval({ value: at, low, high }, from, to, zero = null) {
  const share = (x) => Math.max(0, Math.min(1, (x - from) / (to - from || 1))).toFixed(4);
  return h(
    "span.interval",
    { "aria-hidden": "true" },
    zero !== null && h("i.zero", { vars: { "--at": share(zero) } }),
    h("i.range", { vars: { "--low": share(low ?? at), "--high": share(high ?? at) } }),
    h("i.point", { vars: { "--at": share(at) } }),
  );
}
