// One trace: from its stored events to sections.

import { h, iconButton } from "../dom.js";
import { section, toast } from "../parts.js";
import { server } from "../server.js";
import { copyText, seconds } from "../text.js";
import { passages } from "./passages.js";
import { prompts } from "./prompt.js";
import { generated } from "./tokens.js";
import { waterfall } from "./waterfall.js";

/** The events of a trace by what they say; several `tokens` rows of a choice are joined. */
export function gather(events) {
  const of = (kind) => events.filter((e) => e.kind === kind);
  const choices = new Map();
  for (const row of of("tokens")) {
    const index = row.index || 0;
    choices.set(index, [...(choices.get(index) || []), ...(row.tokens || [])]);
  }
  return { of, last: (kind) => of(kind).pop(), choices };
}

export function detail(trace, row) {
  const { of, last, choices } = gather(trace.events);
  const call = last("call");
  const question = row?.question || call?.question || "";
  const mode = last("mode");
  const finished = last("finished");
  const done = last("done");
  const fault = last("failed");
  const usage = done?.usage || finished?.usage;
  const total = done?.seconds ?? row?.seconds;
  const notes = of("note").filter((n) => n.code !== "speed");
  const speed = of("note").findLast((n) => n.code === "speed")?.data;
  const facts = [
    ["Model", last("started")?.model || row?.model || call?.model],
    ["Mode", mode?.mode],
    ["Ended", finished?.reason || (fault ? (fault.code === "cancelled" ? "stopped" : "failed") : "")],
    [
      "Prompt",
      usage && `${usage.prompt_tokens} tokens${usage.cached_tokens ? `, ${usage.cached_tokens} from the cache` : ""}`,
    ],
    ["Answer", usage && `${usage.completion_tokens} tokens`],
    ["Time", typeof total === "number" && seconds(total)],
    ["Speed", typeof speed?.tokens_per_second === "number" && `${speed.tokens_per_second.toFixed(1)} tokens/s`],
    ["First token", typeof speed?.ttft === "number" && `after ${seconds(speed.ttft)}`],
    ["Runner", speed?.runner],
  ];
  return h(
    "article.trace",
    null,
    h(
      "header",
      null,
      h("h1", null, question || "Trace"),
      iconButton("copy", "Copy as JSON", () =>
        copyText(JSON.stringify(trace, null, 2)).then(() => toast("Trace copied as JSON")),
      ),
    ),
    h("p.path", null, trace.trace),
    h(
      "dl.facts",
      null,
      facts
        .filter(([, value]) => value)
        .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
    ),
    mode?.why && h("p.note.gap", null, `Mode: ${mode.why}.`),
    fault &&
      (fault.code === "cancelled"
        ? h("p.note.gap", null, "Stopped: ", fault.message)
        : h("div.failure", null, h("p", null, fault.message))),
    notes.length > 0 &&
      section(
        "Notes",
        null,
        h(
          "ul.notes",
          null,
          notes.map((n) => h("li", null, h("code", null, n.code), " ", n.text)),
        ),
      ),
    waterfall(of("timing"), total),
    layers(of("timing")),
    of("retrieved").map((r) => passages(r, question)),
    prompts(of("prompted")),
    [...choices].map(([index, tokens]) => generated(tokens, choices.size > 1 ? index : null)),
    call &&
      h(
        "details.part",
        null,
        h("summary", null, "Request: the settings as they arrived"),
        h(
          "pre.json",
          { tabindex: "0" },
          JSON.stringify({ sampling: call.sampling, options: call.options, n: call.n }, null, 2),
        ),
      ),
  );
}

function layers(timings) {
  const cost = Object.fromEntries(
    timings.filter((t) => t.stage.startsWith("layer:")).map((t) => [t.stage.slice(6), t.seconds]),
  );
  const names = server.info?.layers?.length ? server.info.layers : Object.keys(cost);
  if (!names.length) return null;
  return section(
    "Layers",
    "outermost first, each with its own time",
    h(
      "ol.layers",
      null,
      names.map((name) => h("li", null, h("strong", null, name), name in cost && h("span", null, seconds(cost[name])))),
    ),
  );
}
