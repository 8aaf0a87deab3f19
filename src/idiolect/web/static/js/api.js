// The server's HTTP interface. Every failure is an `ApiError` that says what a person can do.

import { events } from "./sse.js";

export class ApiError extends Error {
  /** `status` 0: the server did not answer. */
  constructor(message, { status = 0, code = "" } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let key = "";
try {
  key = sessionStorage.getItem("idiolect.key") || "";
} catch {
  // asked again on the next visit
}
let askKey = async () => "";

/** `ask` is called when the server wants an API key; it returns one, or "" when the person gives up. */
export function onKeyNeeded(ask) {
  let running = null;
  askKey = () => (running ??= ask().finally(() => (running = null)));
}

async function request(path, options = {}, again = true) {
  const headers = { ...(options.headers || {}) };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it still running?", { code: "unreachable" });
  }
  if (response.status === 401 && again) {
    const given = await askKey();
    if (given) {
      key = given;
      try {
        sessionStorage.setItem("idiolect.key", key);
      } catch {
        // kept for this page only
      }
      return request(path, options, true);
    }
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  let message = `The server answered ${response.status}.`;
  let code = "";
  try {
    const { error, detail } = await response.json();
    message = error?.message || (typeof detail === "string" ? detail : message);
    code = error?.code || "";
  } catch {
    // not JSON: the status has to do
  }
  return new ApiError(message, { status: response.status, code });
}

const get = async (path, signal) => (await request(path, { signal })).json();

export const api = {
  info: () => get("api/info"),
  documents: () => get("api/documents"),
  source: (path) => get(`api/documents/source?path=${encodeURIComponent(path)}`),
  search: (q, k, how, signal) => get(`api/search?q=${encodeURIComponent(q)}&k=${k}&how=${how}`, signal),
  conversations: () => get("api/conversations"),
  conversation: (id) => get(`api/conversations/${encodeURIComponent(id)}`),
  traces: (limit = 100) => get(`api/traces?limit=${limit}`),
  trace: (id) => get(`api/traces/${encodeURIComponent(id)}`),
  runs: (limit = 200) => get(`api/evals/runs?limit=${limit}`),
  run: (id, offset, limit) => get(`api/evals/runs/${encodeURIComponent(id)}?offset=${offset}&limit=${limit}`),
  compareRuns: (query) => get(`api/evals/compare?${new URLSearchParams(query)}`),
  arena: () => get("api/evals/arena"),
  arenaPair: async () => (await post("api/evals/arena/pairs", {})).json(),
  arenaChoose: async (body) => (await post("api/evals/arena/choices", body)).json(),
  feedback: async (body) => (await post("api/feedback", body)).json(),

  /** {ready, stage, failure}; a server that is away throws. */
  async health() {
    let response;
    try {
      response = await fetch("healthz", { cache: "no-store" });
    } catch {
      throw new ApiError("The server does not answer.", { code: "unreachable" });
    }
    if (response.ok) return { ready: true, stage: "" };
    const body = await response.json().catch(() => ({}));
    return {
      ready: false,
      stage: body.stage || "",
      failure: body.status === "failed" ? body.error || "loading failed" : "",
    };
  },

  /** Yields the chunks of a streamed chat completion; a failure inside the stream is thrown like any other. */
  async *chat(body, signal) {
    const response = await post("v1/chat/completions", { ...body, stream: true }, signal);
    let finished = false;
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") {
          finished = true;
          return;
        }
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError(chunk.error.message, { status: 500, code: chunk.error.code || "" });
        yield chunk;
      }
    } catch (error) {
      if (error instanceof ApiError || error.name === "AbortError") throw error;
      throw new ApiError("The connection broke off in the middle of the answer.", { code: "unreachable" });
    }
    if (!finished && !signal?.aborted) {
      throw new ApiError("The connection broke off in the middle of the answer.", { code: "unreachable" });
    }
  },
};

function post(path, body, signal) {
  return request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}
