// What a person chose for the next answer: model, mode, length, expertise. Kept in this browser.

import { save, saved } from "../saved.js";

export const LENGTHS = ["Shortest", "Short", "Medium", "Long", "Thorough"];
export const LEVELS = ["New to it", "Beginner", "Familiar", "Practitioner", "Expert"];
export const MODES = {
  auto: ["Auto", "Quotes or free text, whichever this model can be trusted with."],
  quote: ["Quote", "The best sentences of your documents, word for word."],
  generate: ["Generate", "Free text; every sentence is checked against its sources."],
};

const clamp = (n) => (Number.isInteger(n) && n >= 1 && n <= 5 ? n : 3);
const last = saved("choice", {});

export const choice = {
  model: typeof last.model === "string" ? last.model : "",
  mode: MODES[last.mode] ? last.mode : "auto",
  length: clamp(last.length),
  expertise: clamp(last.expertise),
};

export function choose(change) {
  Object.assign(choice, change);
  save("choice", choice);
}

/** The chosen model if the server still has it, else its first. */
export function modelOf(info) {
  const models = info?.models || [];
  return models.find((m) => m.id === choice.model) || models.find((m) => m.id === info?.model) || models[0] || null;
}

export const isPlain = (model) => Boolean(model && model.kind !== "rag"); // a bare model, or an upstream without documents
