// What the page remembers in this browser: theme, choices, the branch shown. Works without storage, until reload.

const PREFIX = "idiolect.";
const memory = new Map();

export function saved(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return memory.has(name) ? memory.get(name) : otherwise;
  }
}

export function save(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // storage is off or full: the memory above holds for this visit
  }
}
