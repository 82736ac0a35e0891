// What decides a text, as the part of a URL behind the #, which no server's log gets to see.
// Knows no element.

import { MAX_LENGTH, MAX_PRIME } from "../../limits.js";

export const MAX_TEMPERATURE = 2;
/** The second temperature, to begin with. */
export const COMPARED = 1.3;
/** What a link that doesn't say gets. */
export const DEFAULTS = { temperature: 0.8, length: 2000 };
/** Digits that a number holds exactly. */
const SEED = /^\d{1,15}$/;

/** The link to a text; `compare` is a second temperature, or null. */
export function toHash({ model, prime, temperature, length, seed, compare }) {
  const query = new URLSearchParams({ model, temperature, length, seed });
  if (prime) query.set("prime", prime);
  if (compare !== null) query.set("compare", compare);
  return `#${query}`;
}

/** What a link asks for; null if it asks for nothing. What makes no sense in it is left out. */
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
    prime: (query.get("prime") ?? "").slice(0, 2 * MAX_PRIME),
    temperature: read("temperature", 0, MAX_TEMPERATURE, DEFAULTS.temperature),
    length: read("length", 1, MAX_LENGTH, DEFAULTS.length),
    seed: seed && SEED.test(seed) ? seed : null,
    compare: query.has("compare") ? read("compare", 0, MAX_TEMPERATURE, COMPARED) : null,
  };
}

/** A prime that the server takes. What doesn't fit is the farthest from what comes next. */
export function clipped(prime) {
  const characters = [...prime];
  return characters.length > MAX_PRIME ? characters.slice(-MAX_PRIME).join("") : prime;
}
