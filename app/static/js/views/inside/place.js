// Where a visitor is in Inside, as a URL: the model, the cell, the kind of picture, and a text of
// one's own. Knows no element.

import { t } from "../../language.js";
import { isMode } from "./modes.js";

/** Characters of a text that a URL holds; servers and mail programs cut longer ones. */
const MAX_IN_URL = 1000;
const KEPT = "charloom-inside-text";

/** The place that a query names; what it does not name, or names wrongly, is null. */
export function placeOf(query) {
  const number = (name) =>
    /^\d{1,5}$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null;
  const mode = query.get("picture");
  return {
    model: query.get("model"),
    layer: number("layer"),
    cell: number("cell"),
    mode: isMode(mode) ? mode : null,
    style: query.get("style"),
    text: query.get("text") ?? (query.has("own") ? keptText() : null),
    slide: number("present"),
  };
}

/** The URL of a place. A text that is too long for it is kept in this tab. */
export function urlOf({ model, layer, cell, mode, style, text, slide }) {
  const query = new URLSearchParams({ model, layer, cell, picture: mode });
  if (style) query.set("style", style);
  if (text && text.length <= MAX_IN_URL) query.set("text", text);
  else if (text && keepText(text)) query.set("own", "1");
  if (slide) query.set("present", slide);
  return `/inside?${query}`;
}

function keepText(text) {
  try {
    sessionStorage.setItem(KEPT, text);
    return true;
  } catch {
    return false;
  }
}

function keptText() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** What a place names that a model does not have, in a sentence; null if it has it. */
export function missingFrom({ layer = null, cell = null }, { model, config }) {
  const { num_layers: layers, hidden_size: size } = config;
  if ((layer ?? 0) < layers && (cell ?? 0) < size) return null;
  const values = { model, layer: layer ?? 0, cell: cell ?? 0, last: size - 1 };
  return layers === 1
    ? t(
        "The model “{model}” has no layer {layer} with a cell {cell}: it has one layer, 0, with cells 0 to {last}. Choose one of them.",
        values,
      )
    : t(
        "The model “{model}” has no layer {layer} with a cell {cell}: it has layers 0 to {lastLayer} with cells 0 to {last}. Choose one of them.",
        { ...values, lastLayer: layers - 1 },
      );
}
