// A conversation as a tree: nodes with parents. One child of each node is on show, the newest unless chosen otherwise.

import { save, saved } from "./saved.js";

export class Tree {
  constructor(id, nodes = []) {
    this.id = id;
    this.nodes = new Map();
    this.children = new Map([[null, []]]);
    this.chosen = new Map(Object.entries(saved(`branch.${id}`, {})));
    for (const node of nodes) this.add(node);
  }

  add(node) {
    if (this.nodes.has(node.id)) return Object.assign(this.nodes.get(node.id), node);
    const parent = node.parent ?? null;
    this.nodes.set(node.id, node);
    if (!this.children.has(parent)) this.children.set(parent, []);
    this.children.get(parent).push(node);
    return node;
  }

  remove(node) {
    this.nodes.delete(node.id);
    const all = this.siblings(node);
    if (all.includes(node)) all.splice(all.indexOf(node), 1);
  }

  /** Give a node the id that the server chose for it. */
  rename(node, id) {
    if (node.id === id) return;
    this.nodes.delete(node.id);
    const below = this.children.get(node.id);
    if (below) {
      this.children.delete(node.id);
      this.children.set(id, below);
      for (const child of below) child.parent = id;
    }
    const key = String(node.parent ?? null);
    if (this.chosen.get(key) === node.id) this.chosen.set(key, id);
    node.id = id;
    this.nodes.set(id, node);
    this.remember();
  }

  siblings(node) {
    return this.children.get(node.parent ?? null) || [];
  }

  /** The nodes on show, from the first question to the last answer. */
  path() {
    const out = [];
    const seen = new Set();
    for (let parent = null; ;) {
      const all = this.children.get(parent) || [];
      if (!all.length) return out;
      const chosen = this.chosen.get(String(parent));
      const node = all.find((n) => n.id === chosen) || all[all.length - 1];
      if (seen.has(node.id)) return out;
      seen.add(node.id);
      out.push(node);
      parent = node.id;
    }
  }

  /** From the root down to `node`. */
  lineage(node) {
    const out = [];
    for (let n = node; n; n = this.nodes.get(n.parent ?? "")) out.unshift(n);
    return out;
  }

  choose(node) {
    this.chosen.set(String(node.parent ?? null), node.id);
    this.remember();
  }

  remember() {
    const server = [...this.chosen].filter(([parent, id]) => !id.startsWith("local-") && !parent.startsWith("local-"));
    save(`branch.${this.id}`, Object.fromEntries(server));
  }
}
