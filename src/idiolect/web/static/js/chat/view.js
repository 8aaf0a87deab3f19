// The Chat tab: conversations beside the turns of one of them, and the composer.

import { fill, h, icon, show } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { go, route } from "../router.js";
import { save, saved } from "../saved.js";
import { onServer, refreshInfo, server } from "../server.js";
import { count, newId } from "../text.js";
import { choice, isPlain, modelOf } from "./choice.js";
import { Composer } from "./composer.js";
import { Answer, Question } from "./message.js";
import { Session } from "./session.js";
import { Sidebar } from "./sidebar.js";

export class ChatView {
  constructor() {
    this.session = null;
    this.sessions = new Map(); // those with an answer under way, by id
    this.turns = new Map(); // node -> Question | Answer, of the conversation on show
    this.wanted = null; // the id whose loading is under way
    this.composer = new Composer({ send: (text) => this.ask(text), stop: () => this.session?.stop() });
    this.sidebar = new Sidebar({ fresh: () => this.fresh(), picked: () => this.drawer(false) });
    this.column = h("div.column", { role: "log", "aria-label": "Conversation", "aria-relevant": "additions" });
    this.latest = h(
      "button.latest",
      {
        type: "button",
        hidden: true,
        "aria-label": "Jump to the latest",
        title: "Jump to the latest",
        on: { click: () => this.toEnd(true) },
      },
      icon("chevron"),
    );
    this.scroller = h("div.scroller", { on: { scroll: () => this.scrolled() } }, this.column);
    this.welcome = h("div.welcome");
    this.scrim = h("div.scrim", { on: { click: () => this.drawer(false) } });
    this.main = h(
      "div.conversation",
      null,
      this.welcome,
      this.scroller,
      h("div.dock", null, this.latest, this.composer.node),
    );
    this.node = h("div.chat", null, this.sidebar.node, this.scrim, this.main);
    this.node.classList.toggle("folded", saved("folded", false) === true);
    this.follow = true; // the end of a growing answer stays in view
    this.top = 0;
    this.loaded = false;
    onServer((s) => this.serverChanged(s));
  }

  serverChanged({ state, info }) {
    this.drawWelcome(info);
    if (state !== "ready" || this.loaded) return;
    this.loaded = true;
    this.sidebar.load();
    if (route().tab === "chat") this.open(route().id);
  }

  // ------------------------------------------------------------------------------------------------- which one

  routed({ tab, id }) {
    if (tab === "chat" && this.loaded) this.open(id);
  }

  async open(id) {
    if (this.session && this.session.id === id) return;
    this.drawer(false);
    this.sidebar.mark(id);
    this.wanted = id;
    if (!id) return this.use(null);
    if (this.sessions.has(id)) return this.use(this.sessions.get(id));
    this.use(null);
    show(this.welcome, false);
    fill(this.column, skeleton(7));
    try {
      const session = await Session.load(id);
      if (this.wanted === id) this.use(session);
    } catch (error) {
      if (this.wanted !== id) return undefined;
      fill(
        this.column,
        error.status === 404
          ? empty("none", "No such conversation", "It is not in this server's store.")
          : failed(error, () => this.open(id)),
      );
    }
    return undefined;
  }

  use(session) {
    if (this.session) this.session.listener = null;
    this.session = session;
    this.turns.clear();
    fill(this.column);
    this.follow = true;
    if (session)
      session.listener = {
        tree: () => this.draw(),
        delta: (node, text) => this.delta(node, text),
        changed: (node) => this.changed(node),
      };
    this.draw();
    if (session) this.toEnd();
  }

  fresh() {
    this.drawer(false);
    go({ tab: "chat", id: "" });
    this.composer.focus();
    refreshInfo(); // the counts on the empty page
  }

  // ------------------------------------------------------------------------------------------------- what it does

  choice() {
    return { ...choice, model: modelOf(server.info)?.id || choice.model };
  }

  ask(text) {
    if (!this.session) {
      this.use(new Session(newId()));
      this.wanted = this.session.id;
      go({ tab: "chat", id: this.session.id }, { replace: true });
    }
    this.run((session) => session.ask(text, this.choice()));
  }

  regenerate(node) {
    this.run((session) => session.regenerate(node, this.choice()));
  }

  edit(node, text) {
    this.run((session) => session.edit(node, text, this.choice()));
  }

  async run(start) {
    const { session } = this;
    if (!session || session.running) return;
    this.follow = true;
    const running = start(session);
    this.sessions.set(session.id, session);
    this.sidebar.setBusy(session.id, true);
    this.toEnd();
    if (document.activeElement === document.body) this.composer.focus(); // the pressed button is gone
    await running;
    this.sessions.delete(session.id);
    this.sidebar.setBusy(session.id, false);
    await this.sidebar.load();
    this.sidebar.mark(route().tab === "chat" ? route().id : "");
  }

  show(node) {
    this.session.tree.choose(node);
    this.draw();
  }

  tree() {
    return this.session.tree;
  }

  busy() {
    return Boolean(this.session?.running);
  }

  // ------------------------------------------------------------------------------------------------- drawing

  /** The turns of the path on show, reusing what stands there already. */
  draw() {
    const path = this.session ? this.session.tree.path() : [];
    const fresh = !path.length;
    show(this.welcome, fresh);
    this.main.classList.toggle("fresh", fresh);
    this.composer.setRunning(this.busy());
    const nodes = path.map((node) => {
      const known = this.turns.get(node);
      if (known instanceof Question) known.editing || known.draw();
      else if (known) known.drawFrame();
      else this.turns.set(node, node.role === "user" ? new Question(node, this) : new Answer(node, this));
      return this.turns.get(node).node;
    });
    let at = this.column.firstChild;
    for (const node of nodes) {
      if (node === at) at = at.nextSibling;
      else this.column.insertBefore(node, at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    this.scrolled();
  }

  delta(node, text) {
    const turn = this.turns.get(node);
    if (!turn) return;
    turn.push(text);
    if (this.follow) requestAnimationFrame(() => this.follow && this.toEnd());
  }

  changed(node) {
    this.turns.get(node)?.draw();
    this.draw();
    if (this.follow) this.toEnd();
  }

  toEnd(smooth = false) {
    this.follow = true;
    this.scroller.scrollTo({
      top: this.scroller.scrollHeight,
      behavior: smooth && !matchMedia("(prefers-reduced-motion: reduce)").matches ? "smooth" : "instant",
    });
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const left = scrollHeight - scrollTop - clientHeight;
    if (left < 60) this.follow = true;
    else if (scrollTop < this.top - 2) this.follow = false; // a person went up; growth alone changes nothing
    this.top = scrollTop;
    show(this.latest, left > 240 && !this.follow);
  }

  drawWelcome(info) {
    if (!info) return fill(this.welcome, h("div.hero", null, h("h1", null, "Idiolect")));
    const { documents } = info;
    const model = modelOf(info);
    if (!documents?.count) {
      const { folder, indexing } = documents || {};
      const what = indexing
        ? "They are being read right now."
        : folder
          ? [
              "Put files into ",
              h("code", null, folder),
              ", or start again with ",
              h("code", null, "idiolect up FOLDER"),
              ".",
            ]
          : ["Start again with ", h("code", null, "idiolect up FOLDER"), " to ask your own files."];
      return fill(
        this.welcome,
        h(
          "div.hero",
          null,
          h("h1", null, "No documents yet"),
          h("p", null, what),
          !folder && h("p.note", null, "Until then you talk to the bare model."),
        ),
      );
    }
    return fill(
      this.welcome,
      h(
        "div.hero",
        null,
        h("h1", null, "Ask your documents"),
        h(
          "p",
          null,
          count(documents.count, "document"),
          documents.chunks ? `, ${count(documents.chunks, "passage")}` : "",
          documents.folder ? [" in ", h("code", null, documents.folder)] : "",
        ),
        model?.default_mode === "quote" &&
          !isPlain(model) &&
          h(
            "p.note",
            null,
            "Answers are quotes, word for word",
            model.why ? `: ${model.why}.`.replace("..", ".") : ".",
          ),
      ),
    );
  }

  // ------------------------------------------------------------------------------------------------- drawer, keys

  /** On a phone the list is a drawer; on a desk it folds away. */
  toggleSidebar() {
    if (matchMedia("(max-width: 820px)").matches) return this.drawer(!this.node.classList.contains("drawer"));
    save("folded", this.node.classList.toggle("folded"));
    return undefined;
  }

  drawer(open) {
    this.node.classList.toggle("drawer", open);
    if (open) this.sidebar.node.querySelector("button").focus();
  }

  /** Press the last button of that name. */
  press(label) {
    [...this.column.querySelectorAll(`button[aria-label="${label}"]`)].pop()?.click();
  }

  /** Esc: true when it meant something here. */
  escape() {
    if (this.node.classList.contains("drawer")) this.drawer(false);
    else if (this.busy()) this.session.stop();
    else return false;
    return true;
  }
}
