// Where a visitor is in Inside, as a URL: the model, the cell, and the kind of picture.

import { isMode } from "./modes.js";

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
  };
}

export const urlOf = ({ model, layer, cell, mode }) =>
  `/inside?${new URLSearchParams({ model, layer, cell, picture: mode })}`;
