// What the page knows about the server: whether it is ready, and what `/api/info` says. Views listen to both.

import { api } from "./api.js";

const READY_EVERY = 15_000; // ms between health checks while all is well
const WAITING_EVERY = 1_000;

/** state: "unknown" | "ready" | "starting" | "failed" (`stage` says why) | "away" */
export const server = { state: "unknown", stage: "", info: null };

const listeners = new Set();
let timer = 0;

/** Calls `listener` now and at every change. */
export function onServer(listener) {
  listeners.add(listener);
  listener(server);
}

function set(change) {
  if (Object.entries(change).every(([key, value]) => server[key] === value)) return;
  Object.assign(server, change);
  for (const listener of listeners) listener(server);
}

export async function check() {
  clearTimeout(timer);
  const before = server.state;
  try {
    const { ready, stage, failure } = await api.health();
    set({ state: ready ? "ready" : failure ? "failed" : "starting", stage: failure || stage });
    if (ready && (before !== "ready" || !server.info || server.info.documents?.indexing)) await refreshInfo();
  } catch {
    set({ state: "away", stage: "" });
  }
  timer = setTimeout(
    check,
    server.state === "ready" && !server.info?.documents?.indexing ? READY_EVERY : WAITING_EVERY,
  );
}

export async function refreshInfo() {
  try {
    const info = await api.info();
    if (JSON.stringify(info) !== JSON.stringify(server.info)) set({ info });
  } catch (error) {
    if (error.code === "unreachable") set({ state: "away" });
  }
}

/** A request failed: look again at once when it was the server that was away. */
export function noticed(error) {
  if (error?.code === "unreachable" || error?.status === 503) check();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && server.state !== "unknown") check();
});
