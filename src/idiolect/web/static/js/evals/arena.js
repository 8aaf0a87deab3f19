// Two answers without names: a person chooses, and the choice enters the ranking.

import { api } from "../api.js";
import { fill, h, show } from "../dom.js";
import { empty, failed, skeleton } from "../parts.js";
import { count, minus } from "../text.js";
import { interval } from "./figures.js";

const CHOICES = [
  ["left", "Left is better", "a"],
  ["tie", "Neither", "s"],
  ["right", "Right is better", "d"],
];

export class Arena {
  constructor() {
    this.match = h("div.match");
    this.table = h("div.standings");
    this.node = h("div.arena", null, this.match, this.table);
    this.pair = null;
  }

  load() {
    if (!this.pair) this.next();
    this.standings();
  }

  async next() {
    this.pair = null;
    fill(this.match, skeleton(8));
    try {
      this.pair = await api.arenaPair();
      this.draw();
    } catch (error) {
      fill(
        this.match,
        error.status === 404
          ? empty(
              "scale",
              "Nothing to judge yet",
              "Two systems have to write answers to the same items: ",
              h("code", null, "idiolect compare A B --tasks gsm8k"),
              ".",
            )
          : failed(error, () => this.next()),
      );
    }
  }

  draw() {
    const { task, item, question, target, left, right } = this.pair;
    this.said = h("p.revealed", { role: "status", "aria-live": "polite" });
    this.buttons = h(
      "div.choices",
      { role: "group", "aria-label": "Which answer is better" },
      CHOICES.map(([side, words, key]) =>
        h(
          "button",
          { type: "button", dataset: { side }, on: { click: () => this.choose(side) } },
          words,
          h("kbd", null, key),
        ),
      ),
    );
    fill(
      this.match,
      h("p.item-id", null, `${task}, item ${item}`),
      h("div.question", { tabindex: "0", role: "group", "aria-label": "Question" }, question),
      target && h("details.target", null, h("summary", null, "Show the right answer"), h("p", null, target)),
      h(
        "div.answers",
        null,
        [
          ["Left", left],
          ["Right", right],
        ].map(([side, text]) =>
          h(
            "div.answer-box",
            { dataset: { side: side.toLowerCase() } },
            h("header", null, h("b.side", null, side), h("span.who")),
            h("p.text", null, text || h("i", null, "(nothing)")),
          ),
        ),
      ),
      this.buttons,
      this.said,
    );
  }

  async choose(side) {
    if (!this.pair || this.busy || !this.buttons.isConnected) return;
    this.busy = true;
    try {
      const found = await api.arenaChoose({ pair: this.pair.pair, choice: side });
      for (const box of this.match.querySelectorAll(".answer-box")) {
        box.querySelector(".who").textContent = found[box.dataset.side];
        box.classList.toggle("good", box.dataset.side === side);
      }
      this.pair = null;
      const again = h(
        "button.primary",
        { type: "button", on: { click: () => this.next() } },
        "Next pair",
        h("kbd", null, "n"),
      );
      fill(this.buttons, again);
      fill(this.said, side === "tie" ? "Counted as a tie." : `Counted for ${found[side]}.`);
      again.focus();
      this.standings();
    } catch (error) {
      fill(
        this.said,
        failed(error, () => this.next(), "Another pair"),
      );
    } finally {
      this.busy = false;
    }
  }

  /** A key of the keyboard: a choice, or the next pair. */
  press(key) {
    if (key === "n") return this.pair ? undefined : this.next();
    const side = CHOICES.find(([, , own]) => own === key)?.[0];
    return side && this.choose(side);
  }

  async standings() {
    try {
      const found = await api.arena();
      show(this.table, found.choices > 0);
      if (!found.choices) return;
      const low = Math.min(...found.rows.map((r) => r.low));
      const high = Math.max(...found.rows.map((r) => r.high));
      fill(
        this.table,
        h(
          "h2",
          null,
          "Standings",
          h(
            "small",
            null,
            `${count(found.choices, "choice")}; the left side got ${Math.round(100 * found.left)} % of the decided ones`,
          ),
        ),
        h(
          "table",
          null,
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              ["System", "Bradley-Terry", "", "Elo", "Rank", "Choices"].map((name) => h("th", { scope: "col" }, name)),
            ),
          ),
          h(
            "tbody",
            null,
            found.rows.map((r) =>
              h(
                "tr",
                null,
                h("th", { scope: "row" }, r.system),
                h(
                  "td",
                  null,
                  h(
                    "span.figure",
                    null,
                    h("strong", null, minus(r.rating.toFixed(0))),
                    h("small", null, minus(`${r.low.toFixed(0)} to ${r.high.toFixed(0)}`)),
                  ),
                ),
                h("td.line", null, interval({ value: r.rating, low: r.low, high: r.high }, low, high)),
                h("td", null, minus(r.elo.toFixed(0))),
                h("td", null, r.first === r.last ? String(r.first) : `${r.first} to ${r.last}`),
                h("td", null, String(r.matches)),
              ),
            ),
          ),
        ),
      );
    } catch (error) {
      fill(
        this.table,
        failed(error, () => this.standings()),
      );
      show(this.table, true);
    }
  }
}
