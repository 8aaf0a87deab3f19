// The question box, its send or stop button, the choice of model, and the answer settings in a small popover.

import { fill, h, icon, show } from "../dom.js";
import { onServer } from "../server.js";
import { LENGTHS, LEVELS, MODES, choice, choose, isPlain, modelOf } from "./choice.js";

export class Composer {
  /** @param {{send: (text: string) => void, stop: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.running = false;
    this.ready = false;
    this.box = h("textarea", {
      id: "question",
      rows: "1",
      placeholder: "Type a question",
      "aria-label": "Your question",
      on: { input: () => this.resize(), keydown: (e) => this.key(e) },
    });
    this.button = h("button.send", { type: "button", on: { click: () => this.click() } });
    this.model = h("select.quiet", {
      "aria-label": "Model",
      on: { change: () => (choose({ model: this.model.value }), this.drawChoice()) },
    });
    this.summary = h("span.summary");
    this.toggle = h(
      "button.quiet",
      {
        type: "button",
        "aria-expanded": "false",
        "aria-controls": "settings",
        on: { click: () => this.open(this.panel.hidden) },
      },
      icon("sliders"),
      this.summary,
    );
    this.panel = this.settings();
    this.hint = h("span.hint", null, h("kbd", null, "Enter"), " sends ", h("kbd", null, "Shift Enter"), " new line");
    this.node = h(
      "form.composer",
      { on: { submit: (e) => (e.preventDefault(), this.click()) } },
      h("div.box", null, this.box, h("div.row", null, this.model, this.toggle, this.hint, this.button)),
      this.panel,
    );
    document.addEventListener(
      "pointerdown",
      (e) => !this.panel.hidden && !this.node.contains(e.target) && this.open(false),
    );
    onServer((s) => this.serverChanged(s));
    this.drawButton();
  }

  serverChanged({ state, info }) {
    this.ready = state === "ready";
    if (info && this.info !== info) {
      this.info = info;
      fill(
        this.model,
        info.models.map((m) => h("option", { value: m.id }, m.id)),
      );
      this.model.value = modelOf(info)?.id || "";
    }
    this.drawChoice();
    this.drawButton();
  }

  settings() {
    const slider = (name, label, words) => {
      const out = h("output", { for: `set-${name}` }, words[choice[name] - 1]);
      const input = h("input", {
        id: `set-${name}`,
        type: "range",
        min: "1",
        max: "5",
        step: "1",
        value: choice[name],
        "aria-valuetext": words[choice[name] - 1],
        on: {
          input: () => {
            choose({ [name]: Number(input.value) });
            out.textContent = words[choice[name] - 1];
            input.setAttribute("aria-valuetext", out.textContent);
            this.drawChoice();
          },
        },
      });
      return h("div.setting", null, h("label", { for: `set-${name}` }, label, out), input);
    };
    const mode = ([id, [label, text]]) =>
      h(
        "label.mode",
        null,
        h("input", {
          type: "radio",
          name: "mode",
          value: id,
          checked: choice.mode === id,
          on: { change: () => (choose({ mode: id }), this.drawChoice()) },
        }),
        h("span", null, h("strong", null, label), h("small", null, text)),
      );
    this.modes = h("fieldset.setting", null, h("legend", null, "How to answer"), Object.entries(MODES).map(mode));
    return h(
      "div.popover",
      {
        id: "settings",
        role: "group",
        "aria-label": "Answer settings",
        hidden: true,
        on: { keydown: (e) => e.key === "Escape" && (e.stopPropagation(), this.open(false), this.toggle.focus()) },
      },
      this.modes,
      slider("length", "Length", LENGTHS),
      slider("expertise", "Written for", LEVELS),
    );
  }

  open(visible) {
    show(this.panel, visible);
    this.panel.style.maxHeight = `${Math.max(180, this.node.getBoundingClientRect().top - 68)}px`; // up to the header
    this.toggle.setAttribute("aria-expanded", String(visible));
    if (visible)
      (
        this.panel.querySelector("input:checked:not(:disabled)") || this.panel.querySelector("input[type=range]")
      ).focus();
  }

  drawChoice() {
    const plain = isPlain(modelOf(this.info));
    this.modes.disabled = plain;
    const words = plain ? ["No documents"] : [MODES[choice.mode][0]];
    if (choice.length !== 3) words.push(LENGTHS[choice.length - 1]);
    if (choice.expertise !== 3) words.push(LEVELS[choice.expertise - 1]);
    this.summary.textContent = words.join(" · ");
    this.toggle.title = "How to answer, length, written for whom";
    this.toggle.setAttribute("aria-label", `Answer settings: ${words.join(", ")}`);
    this.box.placeholder = plain ? "Talk to the bare model" : "Type a question";
  }

  setRunning(running) {
    this.running = running;
    this.drawButton();
  }

  drawButton() {
    const label = this.running ? "Stop (Esc)" : "Send";
    if (this.button.title !== label) fill(this.button, icon(this.running ? "stop" : "send"));
    this.button.title = label;
    this.button.setAttribute("aria-label", label);
    this.button.classList.toggle("stopping", this.running);
    this.button.disabled = !this.running && (!this.box.value.trim() || !this.ready);
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.running) this.click();
  }

  click() {
    if (this.running) return this.actions.stop();
    const text = this.box.value.trim();
    if (!text || !this.ready) return undefined;
    this.box.value = "";
    this.resize();
    this.open(false);
    return this.actions.send(text);
  }

  resize() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight, 220)}px`;
    this.drawButton();
  }

  focus() {
    this.box.focus();
  }
}
