// Numbers, times and offsets.

/** The server counts characters as code points, JavaScript strings count UTF-16 units. Returns a function from the one
 *  offset to the other; free when the text has no character beyond the basic plane. */
export function offsets(text) {
  const wide = [];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0xd800 && code < 0xdc00) {
      wide.push(i - wide.length); // the code-point offset of this pair
      i++;
    }
  }
  if (!wide.length) return (at) => at;
  return (at) => {
    let low = 0;
    let high = wide.length; // how many pairs start before `at`
    while (low < high) {
      const mid = (low + high) >> 1;
      if (wide[mid] < at) low = mid + 1;
      else high = mid;
    }
    return at + low;
  };
}

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
  return `${(n / 1e9).toFixed(1)} GB`;
}

export function seconds(s) {
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 0.1) return `${(s * 1e3).toFixed(1)} ms`;
  if (s < 1) return `${Math.round(s * 1e3)} ms`;
  if (s < 60) return `${s.toFixed(2)} s`;
  return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}

export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** How long ago, in words; `time` is in seconds since the epoch. */
export function ago(time, now = Date.now() / 1000) {
  const s = Math.max(0, now - time);
  if (s < 45) return "just now";
  if (s < 3600) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 86400) return `${Math.round(s / 3600)} h ago`;
  if (s < 86400 * 30) return `${Math.round(s / 86400)} d ago`;
  return new Date(time * 1000).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
}

/** Today, Yesterday, Earlier this week, or a month. */
export function day(time, now = new Date()) {
  const start = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime() / 1000;
  if (time >= start) return "Today";
  if (time >= start - 86400) return "Yesterday";
  if (time >= start - 6 * 86400) return "Earlier this week";
  return new Date(time * 1000).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

export function score(x) {
  if (typeof x !== "number" || !Number.isFinite(x)) return "–";
  const digits = Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : Math.abs(x) < 0.1 && x !== 0 ? 4 : 3;
  return minus(x.toFixed(digits));
}

/** A real minus sign. */
export const minus = (text) => text.replace("-", "−");

/** A random id that also works where `crypto.randomUUID` does not (a page over plain HTTP from another machine). */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain HTTP from another machine has no clipboard API
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
