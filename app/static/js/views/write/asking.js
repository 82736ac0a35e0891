// What is asked about a text that is there: one of its characters, how it might go on, what of it a
// model can read. Knows no element and no tree.

import { post } from "../../api.js";
import { MAX_PRIME } from "../../limits.js";
import { jointly } from "../../parts/sheet/pieces.js";
import { clipped, readingOf, textOf } from "./variant.js";
import { ALTERNATIVES, settingsOf } from "./writing.js";

/** Alternatives to look for the probability of one character among; the most that the API gives. */
const MOST_ALTERNATIVES = 20;

/**
 * What the server says about a unit of a text: its probability, null if one of its characters is
 * none of the likeliest, and the alternatives to the first. Null where the text before is out of
 * reach.
 */
export async function detailsAt(variant, at, unit) {
  let next = at;
  const asked = [...unit].map((char) => {
    const place = next;
    next += char.length;
    return characterAt(variant, place, char);
  });
  const parts = await Promise.all(asked);
  return parts.includes(null) ? null : jointly(parts);
}

async function characterAt(variant, at, char) {
  const reading = readingOf(variant, at);
  if (!reading) return null;
  const fields = { ...settingsOf(variant), ...reading, length: 1 };
  const { probabilities } = await post("/sample", { ...fields, probabilities: MOST_ALTERNATIVES });
  const [{ top }] = probabilities;
  const probability = top.find(([other]) => other === char)?.[1] ?? null;
  return { char, probability, top: top.slice(0, ALTERNATIVES) };
}

/**
 * Short continuations of a text at a position, each another one. What a model does not know is
 * skipped: whoever types goes on typing.
 */
export async function continuationsAt(variant, at, { count, length }) {
  const reading = readingOf(variant, at) ?? { prime: clipped(textOf(variant).slice(0, at)) };
  const fields = { ...settingsOf(variant), ...reading, length, unknown: "skip" };
  const seeds = Array.from({ length: count }, (_, i) => fields.seed + i);
  const answers = await Promise.all(seeds.map((seed) => post("/sample", { ...fields, seed })));
  return [...new Set(answers.map(({ text }) => text))];
}

/** A text without the characters that a model does not know. */
export async function readable(model, text) {
  const characters = [...text];
  let known = "";
  for (let at = 0; at < characters.length; at += MAX_PRIME) {
    const prime = characters.slice(at, at + MAX_PRIME).join("");
    const fields = { model, prime, unknown: "skip", echo: true, length: 1 };
    const answer = await post("/sample", fields);
    known += [...answer.text].slice(0, -1).join("");
  }
  return known;
}
