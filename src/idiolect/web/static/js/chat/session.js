// One conversation and its running answer. It goes on while another conversation or tab is on show.

import { api } from "../api.js";
import { noticed } from "../server.js";
import { newId } from "../text.js";
import { Tree } from "../tree.js";

const LOGPROBS = { logprobs: true, top_logprobs: 5 }; // for the trace, which shows what else each token could have been

const DEFAULT = 3; // of length and expertise: left out, so that the server need not say what it does not use

/** An answer in place of the one that never came: the server was stopped over it, or still works on it elsewhere. */
function unanswered(nodes) {
  const parents = new Set(nodes.map((n) => n.parent));
  return nodes
    .filter((n) => n.role === "user" && !parents.has(n.id))
    .map((n) => ({
      id: local(),
      parent: n.id,
      role: "assistant",
      content: "",
      citations: [],
      state: "failed",
      error: { message: "There is no answer to this question, or not yet." },
      created: n.created,
    }));
}

const local = () => `local-${newId()}`;
const isLocal = (id) => id.startsWith("local-");

export class Session {
  constructor(id, { nodes = [], title = "" } = {}) {
    this.id = id;
    this.title = title;
    this.tree = new Tree(id, nodes);
    this.running = null; // {answer, controller}
    this.settling = null; // the search for the ids of a stopped answer
    this.listener = null; // the view: tree(), delta(node, text), changed(node)
  }

  static async load(id) {
    const { nodes, title } = await api.conversation(id);
    return new Session(id, {
      title,
      nodes: nodes.map((n) => (n.finish === "cancelled" ? { ...n, state: "stopped" } : n)).concat(unanswered(nodes)),
    });
  }

  /** @param {{model: string, mode: string, length: number, expertise: number}} choice */
  async ask(content, choice) {
    await this.settling;
    const path = this.tree.path();
    const last = path.findLast((n) => !isLocal(n.id)); // the server does not know what it never answered
    for (const node of path) if (isLocal(node.id) && node.role === "assistant") this.tree.remove(node);
    return this.branch(content, last?.id ?? null, choice);
  }

  /** The same question in other words: a sibling of `user`. */
  edit(user, content, choice) {
    return this.branch(content, user.parent ?? null, choice);
  }

  branch(content, parent, choice) {
    const user = this.tree.add({ id: local(), parent, role: "user", content, created: Date.now() / 1000 });
    this.tree.choose(user);
    return this.generate(user, choice);
  }

  regenerate(answer, choice) {
    const user = this.tree.nodes.get(answer.parent);
    if (answer.state === "failed") this.tree.remove(answer);
    return this.generate(user, choice);
  }

  stop() {
    this.running?.controller.abort();
  }

  async generate(user, { model, mode, length, expertise }) {
    if (this.running) return;
    await this.settling;
    const answer = this.tree.add({
      id: local(),
      parent: user.id,
      role: "assistant",
      content: "",
      model,
      citations: [],
      state: "waiting",
      created: Date.now() / 1000,
    });
    this.tree.choose(answer);
    const controller = new AbortController();
    this.running = { answer, controller };
    this.listener?.tree();
    const stored = !isLocal(user.id);
    const messages = this.tree
      .lineage(user)
      .filter((n, i, all) => n.content && !(n.role === "user" && all[i + 1]?.role === "user")) // nor is it told of it
      .map(({ role, content }) => ({ role, content }));
    const options = {
      mode,
      ...(length === DEFAULT ? {} : { length }),
      ...(expertise === DEFAULT ? {} : { expertise }),
      conversation: this.id,
      parent: stored ? user.id : (user.parent ?? null),
      regenerate: stored,
    };
    try {
      for await (const chunk of api.chat({ model, messages, idiolect: options, ...LOGPROBS }, controller.signal))
        this.take(chunk, user, answer);
      answer.state = "done";
    } catch (error) {
      answer.state = error.name === "AbortError" ? "stopped" : "failed";
      answer.error = error;
      noticed(error);
    }
    this.running = null;
    this.listener?.changed(answer);
    if (!isLocal(answer.id)) return;
    this.settling = this.reconcile(user, answer);
    await this.settling;
    this.settling = null;
    this.listener?.changed(answer);
  }

  take(chunk, user, answer) {
    if (chunk.id) answer.trace ||= chunk.id.replace(/^chatcmpl-/, "");
    if (chunk.citations) answer.citations = chunk.citations;
    if (chunk.idiolect) this.meta(chunk.idiolect, user, answer);
    const choice = chunk.choices?.[0];
    if (choice?.finish_reason) answer.finish = choice.finish_reason;
    const text = choice?.delta?.content;
    if (!text) return;
    answer.content += text;
    answer.state = "writing";
    this.listener?.delta(answer, text);
  }

  meta({ node, user_node: userNode, ...rest }, user, answer) {
    if (userNode) this.tree.rename(user, userNode);
    if (node) this.tree.rename(answer, node);
    Object.assign(answer, rest);
  }

  /** After a stop or a broken connection: find out under which ids the server kept the question and the answer. */
  async reconcile(user, answer) {
    for (const wait of [150, 400, 1000, 2500]) {
      await new Promise((done) => setTimeout(done, wait));
      let nodes;
      try {
        ({ nodes } = await api.conversation(this.id));
      } catch {
        continue;
      }
      const fresh = nodes.filter((n) => !this.tree.nodes.has(n.id));
      if (isLocal(user.id)) {
        const found = fresh.filter(
          (n) => n.role === "user" && (n.parent ?? null) === (user.parent ?? null) && n.content === user.content,
        );
        if (found.length) this.tree.rename(user, found[found.length - 1].id);
      }
      if (!answer.trace && !isLocal(user.id)) return; // not a word came, so nothing of it was kept
      const kept =
        fresh.find((n) => n.role === "assistant" && n.trace === answer.trace) ||
        fresh.filter((n) => n.role === "assistant" && n.parent === user.id).pop();
      if (!kept) continue;
      this.tree.rename(answer, kept.id);
      const { trace, mode, why, citations, feedback } = kept;
      Object.assign(answer, { trace, mode, why, citations: citations || [], feedback });
      return;
    }
  }
}
