// Everything that decides a text, as a URL fragment. Browsers do not send fragments, so no server
// logs them. Knows no element.

import { MAX_LENGTH } from "../../limits.js";

export const MAX_TEMPERATURE = 2;
/** The initial second temperature. */
export const COMPARED = 1.3;
/** For links that leave them out. */
export const DEFAULTS = { temperature: 0.8, length: 2000 };
/** As many digits as a JavaScript number holds exactly. */
const SEED = /^\d{1,15}$/;

/** The fragment for a text; `compare` is the second temperature, or null. */
export function toHash({ model, style, prime, temperature, length, seed, compare }) {
  const query = new URLSearchParams({ model, temperature, length, seed });
  if (style) query.set("style", style);
  if (prime) query.set("prime", prime);
  if (compare !== null) query.set("compare", compare);
  return `#${query}`;
}

/** What a fragment asks for, bad values left out; null without a model or a prime. */
export function fromHash(hash) {
  const query = new URLSearchParams(hash.slice(1));
  if (!query.has("model") && !query.has("prime")) return null;
  const read = (name, low, high, otherwise) => {
    const value = Number(query.get(name) ?? Number.NaN);
    return value >= low && value <= high ? value : otherwise;
  };
  const seed = query.get("seed");
  return {
    model: query.get("model"),
    style: query.get("style"),
    prime: query.get("prime") ?? "",
    temperature: read("temperature", 0, MAX_TEMPERATURE, DEFAULTS.temperature),
    length: read("length", 1, MAX_LENGTH, DEFAULTS.length),
    seed: seed && SEED.test(seed) ? seed : null,
    compare: query.has("compare") ? read("compare", 0, MAX_TEMPERATURE, COMPARED) : null,
  };
}

/** The fragment of a text that no link can hold: it finds it in this browser only. */
export const hashOfKept = (id) => `#${new URLSearchParams({ variant: id })}`;

/** The id that such a fragment has; null if it is another one. */
export const keptIn = (hash) => new URLSearchParams(hash.slice(1)).get("variant");
