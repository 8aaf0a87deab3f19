// Puts the page together: header and tabs, the four views, the source panel, the notices, the keys.

import { onKeyNeeded } from "./api.js";
import { ChatView } from "./chat/view.js";
import { DocumentsView } from "./documents/view.js";
import { EvalsView } from "./evals/view.js";
import { append, fill, h, icon, iconButton, show } from "./dom.js";
import { dialog } from "./parts.js";
import { TABS, format, go, onRoute, route, startRouter } from "./router.js";
import { check, onServer } from "./server.js";
import { listen, showShortcuts } from "./shortcuts.js";
import { SourcePanel } from "./source.js";
import { themeButton } from "./theme.js";
import { TraceView } from "./trace/view.js";

const NAMES = { chat: "Chat", trace: "Trace", documents: "Documents", evals: "Evals" };

const views = { chat: new ChatView(), trace: new TraceView(), documents: new DocumentsView(), evals: new EvalsView() };
const source = new SourcePanel();
const places = { chat: "", trace: "", documents: "", evals: "" }; // where each tab was left

// ------------------------------------------------------------------------------------------------------------ tabs

const tabs = Object.fromEntries(
  TABS.map((tab) => [
    tab,
    h(
      "a",
      {
        role: "tab",
        id: `tab-${tab}`,
        href: `#/${tab}`,
        "aria-controls": `panel-${tab}`,
        "aria-selected": "false",
        tabindex: "-1",
        on: { click: (event) => pick(event, tab) },
      },
      NAMES[tab],
    ),
  ]),
);
const tablist = h("div.tabs", { role: "tablist", "aria-label": "Views", on: { keydown: arrows } }, Object.values(tabs));
const panels = Object.fromEntries(
  TABS.map((tab) => [
    tab,
    h(
      "section.panel",
      { role: "tabpanel", id: `panel-${tab}`, "aria-labelledby": `tab-${tab}`, hidden: true },
      views[tab].node,
    ),
  ]),
);

function pick(event, tab) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new browser tab
  event.preventDefault();
  toTab(tab);
}

function toTab(tab) {
  if (route().tab !== tab) go({ tab, id: places[tab], doc: "", span: null });
}

function arrows(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -TABS.length, End: TABS.length }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = TABS.indexOf(route().tab) + step;
  const tab = Math.abs(step) > 1 ? TABS[step > 0 ? TABS.length - 1 : 0] : TABS[(at + TABS.length) % TABS.length];
  toTab(tab);
  tabs[tab].focus();
}

// ------------------------------------------------------------------------------------------------- header, notices

const theme = themeButton();
const menu = iconButton("menu", "Show or hide the conversations (b)", () => views.chat.toggleSidebar(), {
  class: "menu",
});
const notice = h("div.notice", { role: "status", hidden: true });
const header = h(
  "header.top",
  null,
  menu,
  h(
    "a.brand",
    { href: "#/chat", "aria-label": "Idiolect, new conversation" },
    h("img", { src: "favicon.svg", alt: "", width: "22", height: "22" }),
    h("span", null, "Idiolect"),
  ),
  tablist,
  h("div.end", null, theme, iconButton("help", "Keyboard shortcuts (?)", showShortcuts)),
);

onServer(({ state, stage }) => {
  show(notice, state !== "unknown" && state !== "ready");
  notice.classList.toggle("bad", state === "failed");
  if (state === "starting")
    fill(notice, h("span.spinner"), h("span", null, "The server is starting", stage ? `: ${stage}` : "…"));
  else if (state === "failed") fill(notice, icon("warn"), h("span", null, "The server could not load: ", stage));
  else if (state === "away")
    fill(
      notice,
      icon("warn"),
      h(
        "span",
        null,
        "No connection to the server. Trying again… If it was stopped, start it with ",
        h("code", null, "idiolect up"),
        ".",
      ),
    );
  else fill(notice);
});

onKeyNeeded(
  () =>
    new Promise((done) => {
      const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
      const box = dialog(
        "This server asks for a key",
        h(
          "form.stack",
          { on: { submit: (event) => (event.preventDefault(), done(input.value.trim()), box.close()) } },
          h("label", { for: "key" }, "API key"),
          input,
          h("p.note", null, "It is kept until this browser tab closes."),
          h("div.buttons", null, h("button.primary", { type: "submit" }, "Go on")),
        ),
      );
      box.addEventListener("close", () => done(""));
      input.focus();
    }),
);

// ------------------------------------------------------------------------------------------------------------ route

append(document.body, [
  h("a.skip", { href: "#panel", on: { click: skip } }, "Skip to the content"),
  header,
  notice,
  h("main", null, Object.values(panels), source.node),
]);

function skip(event) {
  event.preventDefault();
  const panel = panels[route().tab];
  panel.tabIndex = -1;
  panel.focus();
}

onRoute((now) => {
  places[now.tab] = now.id;
  for (const tab of TABS) {
    const here = tab === now.tab;
    tabs[tab].setAttribute("aria-selected", String(here));
    tabs[tab].tabIndex = here ? 0 : -1;
    tabs[tab].href = format({ tab, id: places[tab] });
    show(panels[tab], here);
  }
  show(menu, now.tab === "chat");
  document.title = now.tab === "chat" ? "Idiolect" : `${NAMES[now.tab]} · Idiolect`;
  for (const view of Object.values(views)) view.routed(now);
  source.routed(now);
});

listen({
  1: () => toTab("chat"),
  2: () => toTab("trace"),
  3: () => toTab("documents"),
  4: () => toTab("evals"),
  "?": showShortcuts,
  t: () => theme.click(),
  n: () => (route().tab === "evals" ? views.evals.press("n") : views.chat.fresh()),
  a: () => views.evals.press("a"),
  s: () => views.evals.press("s"),
  d: () => views.evals.press("d"),
  b: () => route().tab === "chat" && views.chat.toggleSidebar(),
  r: () => route().tab === "chat" && views.chat.press("Regenerate"),
  e: () => route().tab === "chat" && views.chat.press("Edit and ask again"),
  "/": () =>
    route().tab === "documents" ? views.documents.focusSearch() : (toTab("chat"), views.chat.composer.focus()),
  Escape: () => {
    if (route().doc) source.close();
    else views.chat.escape();
  },
});

startRouter();
check();
if (route().tab === "chat" && matchMedia("(hover: hover)").matches) views.chat.composer.focus();
