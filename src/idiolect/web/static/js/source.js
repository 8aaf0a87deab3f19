// The open source: a document's text beside the page (a sheet on a phone), scrolled to the passage, its span marked.
// It is what the address says (`?doc=...&span=...`), so it can be linked, and the back button closes it.

import { api } from "./api.js";
import { fill, h, iconButton } from "./dom.js";
import { failed, place, scoreBars, skeleton, toast } from "./parts.js";
import { recall } from "./passages.js";
import { go, route } from "./router.js";
import { dimmed } from "./signs.js";
import { bestSpans, pieces } from "./spans.js";
import { copyText, offsets } from "./text.js";

const WINDOW = 40_000; // characters drawn around the passage at first, and added by each "more"

export class SourcePanel {
  constructor() {
    this.body = h("div.source-body", { tabindex: "0" });
    this.head = h("header");
    this.node = h("dialog.source", { "aria-label": "Source" }, this.head, this.body);
    this.node.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.shown = "";
    this.back = null; // what had the focus
    this.narrow = matchMedia("(max-width: 820px)");
    this.narrow.addEventListener("change", () => this.node.open && this.reopen());
  }

  close() {
    go({ doc: "", span: null });
  }

  routed({ doc, span }) {
    if (!doc) {
      if (this.node.open) {
        this.node.close();
        if (this.back?.isConnected) this.back.focus();
      }
      this.shown = "";
      document.body.classList.remove("with-source");
      return;
    }
    if (!this.node.open) {
      this.back = document.activeElement;
      this.reopen();
    }
    const key = JSON.stringify([doc, span]);
    if (key !== this.shown) {
      this.shown = key;
      this.load(doc, span);
    }
  }

  /** Beside the page where there is room, else over it. */
  reopen() {
    this.node.close();
    if (this.narrow.matches) this.node.showModal();
    else this.node.show();
    document.body.classList.toggle("with-source", !this.narrow.matches);
    this.body.focus({ preventScroll: true });
  }

  async load(path, span) {
    this.drawHead(path, "", null);
    fill(this.body, skeleton(10));
    let doc;
    try {
      doc = await api.source(path);
    } catch (error) {
      if (route().doc === path)
        fill(
          this.body,
          failed(error, () => this.load(path, span)),
        );
      return;
    }
    if (route().doc !== path) return;
    const passage = recall(path, span);
    const at = offsets(doc.text);
    const marks = span ? bestSpans(doc.text, span.map(at), passage, at) : {};
    this.drawHead(path, doc.title, passage, doc.text.slice(...(marks.quote || [0, 0])));
    this.drawText(doc, at, marks);
  }

  drawHead(path, title, passage, quote) {
    const where = passage ? place(passage) : "";
    fill(
      this.head,
      h(
        "div.bar",
        null,
        h(
          "div.titles",
          null,
          h("h2", null, passage?.number ? h("span.cite", null, passage.number) : null, title || path.split("/").pop()),
          h("p.path", null, path),
        ),
        quote && iconButton("copy", "Copy the passage", () => copyText(quote).then(() => toast("Copied"))),
        iconButton("close", "Close the source (Esc)", () => this.close()),
      ),
      where && h("p.where", null, where),
      passage?.supported === false && h("p.note", null, "The support check did not find the answer's sentence here."),
      passage?.scores && Object.keys(passage.scores).length
        ? h("details.score-box", null, h("summary", null, "Scores"), scoreBars(passage.scores))
        : null,
    );
  }

  drawText(doc, at, marks) {
    const blocks = pieces(
      doc.text,
      doc.blocks.map((b) => ({ ...b, span: b.span.map(at) })),
    );
    if (!blocks.length) return fill(this.body, h("p.note", null, "This document holds no text."));
    const middle = marks.quote
      ? Math.max(
          0,
          blocks.findIndex((b) => b.end > marks.quote[0]),
        )
      : 0;
    let [first, last] = [middle, middle];
    const text = h("div.text", { class: `is-${doc.format}` });
    const size = (b) => b.end - b.start;
    const draw = (from, to) => blocks.slice(from, to).map((b) => drawBlock(doc, b, marks));
    const earlier = h(
      "button.more",
      {
        type: "button",
        on: {
          click: () => {
            const height = this.body.scrollHeight;
            let room = WINDOW;
            const end = first;
            while (first > 0 && room > 0) room -= size(blocks[--first]);
            text.prepend(...draw(first, end));
            this.body.scrollTop += this.body.scrollHeight - height; // what is read stays where it is
            earlier.hidden = first === 0;
          },
        },
      },
      "Earlier text",
    );
    const later = h(
      "button.more",
      {
        type: "button",
        on: {
          click: () => {
            let room = WINDOW;
            const start = last;
            while (last < blocks.length && room > 0) room -= size(blocks[last++]);
            text.append(...draw(start, last));
            later.hidden = last === blocks.length;
          },
        },
      },
      "Later text",
    );
    let room = WINDOW / 4;
    while (first > 0 && room > 0) room -= size(blocks[--first]);
    room = WINDOW;
    while (last < blocks.length && room > 0) room -= size(blocks[last++]);
    text.append(...draw(first, last));
    earlier.hidden = first === 0;
    later.hidden = last === blocks.length;
    fill(this.body, earlier, text, later);
    const mark = text.querySelector("mark") || text.querySelector(".passage");
    if (mark) mark.scrollIntoView({ block: "center" });
    else this.body.scrollTop = 0;
    return undefined;
  }
}

/** One block, its text cut at the borders of the marks. Nothing of the document's text is left out or added. */
function drawBlock({ text, format }, block, { quote, passage }) {
  const cuts = [block.start, block.end, block.text[1]];
  for (const span of [quote, passage]) if (span) cuts.push(...span);
  const borders = [...new Set(cuts)].filter((c) => c >= block.start && c <= block.end).sort((a, b) => a - b);
  const inside = (span, a, b) => span && span[0] <= a && b <= span[1];
  const runs = borders.slice(1).map((b, i) => {
    const a = borders[i];
    if (a === b) return null;
    const hidden = a >= block.text[1]; // white space between blocks: part of the text, not of the look
    const tag = inside(quote, a, b) ? "mark" : inside(passage, a, b) ? "span.passage" : "span";
    const run = text.slice(a, b);
    return h(
      tag,
      { hidden: hidden && run.trim() === "" },
      format === "markdown" && block.kind !== "code" ? dimmed(run, text.slice(Math.max(block.start, a - 80), a)) : run,
    );
  });
  return h(
    `div.block.is-${block.kind}`,
    {
      "aria-level": block.kind === "heading" ? Math.min(6, 2 + block.depth) : null,
      role: block.kind === "heading" ? "heading" : null,
      dataset: block.page ? { page: block.page } : {},
    },
    runs,
  );
}
