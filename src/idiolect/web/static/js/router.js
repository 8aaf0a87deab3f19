// The address after `#` is the page's state: `#/chat/<conversation>`, `#/trace/<trace>`, `#/documents`,
// `#/evals/<run>` (or `<run>~<run>`, or `arena`), and on any of them `?doc=<path>&span=<from>-<to>` for the open source.
// Back and forward therefore do what a person expects.

export const TABS = ["chat", "trace", "documents", "evals"];

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [tab, id = ""] = path.split("/");
  const params = new URLSearchParams(query);
  const span = /^(\d+)-(\d+)$/.exec(params.get("span") || "");
  return {
    tab: TABS.includes(tab) ? tab : "chat",
    id: safeDecode(id),
    doc: params.get("doc") || "",
    span: span ? [Number(span[1]), Number(span[2])] : null,
  };
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

export function format({ tab, id = "", doc = "", span = null }) {
  const params = new URLSearchParams();
  if (doc) params.set("doc", doc);
  if (doc && span) params.set("span", `${span[0]}-${span[1]}`);
  const query = params.toString();
  return `#/${tab}${id ? `/${encodeURIComponent(id)}` : ""}${query ? `?${query}` : ""}`;
}

const listeners = new Set();
let current = parse(location.hash);

export const route = () => current;

export function onRoute(listener) {
  listeners.add(listener);
}

/** Go somewhere; what is not given stays (the open source only within the same place). */
export function go(change, { replace = false } = {}) {
  const moved = ("tab" in change && change.tab !== current.tab) || ("id" in change && change.id !== current.id);
  const base = moved
    ? { tab: current.tab, id: "tab" in change && change.tab !== current.tab ? "" : current.id }
    : current;
  const hash = format({ ...base, ...change });
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  changed();
}

function changed() {
  const before = current;
  current = parse(location.hash);
  for (const listener of listeners) listener(current, before);
}

export function startRouter() {
  addEventListener("popstate", changed);
  changed();
}
