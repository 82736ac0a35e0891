// Writes variants: asks the server for text in steps, each of which ends in a state, so that a text
// can be written on and branched from however long it is. Knows no element and no tree.

import { Problem } from "../../api.js";
import { t } from "../../language.js";
import { written } from "../../parts/written.js";
import {
  charactersIn,
  grow,
  lengthOf,
  mark,
  requestOf,
  resumedFrom,
  stepOf,
  textOf,
} from "./variant.js";

/** UTF-16 units up to which probabilities are asked for; each takes about 150 bytes to keep. */
const REMEMBERED = 200_000;
export const ALTERNATIVES = 5;
const OUT_OF_REACH = t(
  "The text before this place is longer than a model can be sent, and no state of it is at hand.",
);
const EXPIRED = t(
  "The model was trained further since this text was written, so the state that it would continue from has expired.",
);
const ENDS = {
  copied: t("Every character that could follow would copy the corpus."),
  error: t("The network produced invalid numbers; the text ends here."),
};
const EXPIRED_CODES = ["state_of_another_checkpoint", "invalid_state"];

// Codes of problems that can be mended. After the first one only the last characters of a text can be
// sent; the second is that of a beginning.
export const NEEDS_CLIPPING = "needs_clipping";
export const TOO_LONG = "too_long";
export const UNKNOWN = "unknown_characters";

export const settingsOf = ({ model, style, temperature, seed }) => ({
  model,
  ...(style && { style }),
  temperature,
  seed: Number(seed),
});

/**
 * Writes `length` more characters of a variant. Yields `{at, text, json}` of each piece after it
 * was added, and returns `{seconds, characters}`. Throws a Problem, or an AbortError.
 */
export async function* writeOn(variant, length, signal) {
  try {
    await settle(variant, signal);
    return yield* inSteps(variant, length, signal);
  } catch (error) {
    if (!EXPIRED_CODES.includes(error.code)) throw error;
    throw new Problem(error.status, EXPIRED, [], 0, NEEDS_CLIPPING);
  }
}

async function* inSteps(variant, length, signal) {
  const total = { seconds: 0, characters: 0 };
  while (total.characters < length) {
    const request = requestOf(variant);
    if (!request) throw new Problem(0, OUT_OF_REACH, [], 0, NEEDS_CLIPPING);
    const step = stepOf(request, length - total.characters);
    const fields = { ...settingsOf(variant), ...request, length: step };
    if (lengthOf(variant) - variant.base + step <= REMEMBERED) fields.probabilities = ALTERNATIVES;
    let end = null;
    const isOngoing = total.characters > 0;
    for await (const piece of written(fields, signal, { isOngoing })) {
      signal.throwIfAborted();
      if (piece.end) end = piece.end;
      else {
        const at = lengthOf(variant);
        grow(variant, piece.text, piece.length);
        yield { at, ...piece };
      }
    }
    mark(variant, end.state);
    total.seconds += end.seconds;
    total.characters += end.characters;
    if (end.finish_reason === "stop") break;
    if (end.finish_reason !== "length")
      throw new Problem(0, ENDS[end.finish_reason] ?? t("The text ends early, here."));
  }
  return total;
}

/**
 * Fetches the state at the end of a text that was stopped: the server writes it again from the last
 * state before.
 */
async function settle(variant, signal) {
  const { at } = resumedFrom(variant);
  const there = textOf(variant).slice(at);
  if (!there) return;
  const length = charactersIn(there);
  const fields = { ...settingsOf(variant), ...requestOf(variant), length };
  let text = "";
  for await (const piece of written(fields, signal)) {
    signal.throwIfAborted();
    if (piece.end) mark(variant, piece.end.state);
    else text += piece.text;
    if (!there.startsWith(text)) throw new Problem(409, EXPIRED, [], 0, NEEDS_CLIPPING);
  }
}
