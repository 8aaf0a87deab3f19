// Light, dark, or what the system says; the button goes round.

import { iconButton, icon, fill } from "./dom.js";
import { save, saved } from "./saved.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const LOOK = {
  auto: ["auto", "Theme: as the system (switch to light)"],
  light: ["sun", "Theme: light (switch to dark)"],
  dark: ["moon", "Theme: dark (switch to the system's)"],
};

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function themeButton() {
  let theme = LOOK[saved("theme", "auto")] ? saved("theme", "auto") : "auto";
  const button = iconButton("auto", "", () => {
    theme = NEXT[theme];
    save("theme", theme);
    draw();
  });
  const draw = () => {
    apply(theme);
    const [name, label] = LOOK[theme];
    fill(button, icon(name));
    button.title = label;
    button.setAttribute("aria-label", label);
  };
  draw();
  return button;
}
