// Builds DOM nodes. Every string becomes a text node or an attribute value, never markup: this is what keeps document
// text, titles, model output and errors inert.

const SVG = "http://www.w3.org/2000/svg";

/**
 * h("button.primary", {type: "button", on: {click}}, "Send")
 * Properties: `on` (listeners), `vars` (CSS custom properties), `dataset`, `ref` (called with the node), the rest are
 * attributes; false, null and undefined leave an attribute out, true sets it empty.
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name || "div");
  if (classes.length) node.className = classes.join(" ");
  if (props) setProps(node, props);
  append(node, children);
  return node;
}

function setProps(node, props) {
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "on") for (const [event, fn] of Object.entries(value)) node.addEventListener(event, fn);
    else if (key === "vars") for (const [v, x] of Object.entries(value)) node.style.setProperty(v, String(x));
    else if (key === "dataset") Object.assign(node.dataset, value);
    else if (key === "ref") value(node);
    else if (key === "class") node.className = [node.className, value].filter(Boolean).join(" ");
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
}

export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** Replace everything inside `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

export function show(node, visible) {
  node.hidden = !visible;
}

// 20 x 20 strokes, drawn for this page.
const PATHS = {
  menu: "M3 6h14M3 10h14M3 14h14",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  send: "M10 16V4M4.5 9.5L10 4l5.5 5.5",
  stop: "M6 6h8v8H6z",
  redo: "M15.5 8A6 6 0 1 0 16 11.5M16 4v4h-4",
  edit: "M4 16l.8-3.6L13.2 4a1.4 1.4 0 0 1 2 0l.8.8a1.4 1.4 0 0 1 0 2L7.6 15.2z",
  up: "M7 9l3-6c1.3 0 2 .8 2 2v3h3.6a1.3 1.3 0 0 1 1.3 1.5l-.9 5.4a1.4 1.4 0 0 1-1.4 1.1H7zM7 9H4v7h3",
  down: "M13 11l-3 6c-1.3 0-2-.8-2-2v-3H4.4a1.3 1.3 0 0 1-1.3-1.5l.9-5.4A1.4 1.4 0 0 1 5.4 4H13zM13 11h3V4h-3",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  chevron: "M5 8l5 5 5-5",
  copy: "M7 7V4.5h8.5V13H13M4.5 7H13v8.5H4.5z",
  trace: "M3 15h3l2.5-9 3.5 12 2.5-7H17",
  sliders: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  sun: "M10 3v1.5M10 15.5V17M3 10h1.5M15.5 10H17M5 5l1.1 1.1M13.9 13.9L15 15M5 15l1.1-1.1M13.9 6.1L15 5M10 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  moon: "M16 11.5A6.5 6.5 0 0 1 8.5 4 6.5 6.5 0 1 0 16 11.5z",
  auto: "M10 3.5a6.5 6.5 0 1 0 0 13zM10 3.5a6.5 6.5 0 0 1 0 13",
  help: "M7.5 7.5a2.5 2.5 0 1 1 3.6 2.2c-.7.35-1.1.85-1.1 1.7M10 14.5v.01",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4",
  doc: "M5.5 3h6L15 6.5V17H5.5zM11.5 3v3.5H15",
  quote: "M4.5 13.5V10c0-2 1-3.5 3-4M11.5 13.5V10c0-2 1-3.5 3-4M4.5 10H8v3.5H4.5M11.5 10H15v3.5h-3.5",
  spark: "M10 3l1.8 5.2L17 10l-5.2 1.8L10 17l-1.8-5.2L3 10l5.2-1.8z",
  scale: "M10 3v14M6 17h8M4 6h12M4 6l-2 5h4zM16 6l-2 5h4z",
  warn: "M10 3.5L17.5 16h-15zM10 8.5v3.5M10 14v.01",
  none: "M5 15L15 5M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z",
  external: "M8 4.5H4.5v11h11V12M11 4.5h4.5V9M15.5 4.5L9 11",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon; `label` is its accessible name and tooltip. */
export function iconButton(name, label, click, props = {}) {
  return h(
    "button.icon-button",
    { type: "button", "aria-label": label, title: label, on: { click }, ...props },
    icon(name),
  );
}
