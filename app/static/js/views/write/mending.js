// What can be done about characters that a model does not know, a prime that is too long, and a state
// that has expired. Knows no element.

import { Problem } from "../../api.js";
import { t } from "../../language.js";
import { MAX_PRIME } from "../../limits.js";
import { number } from "../../ui.js";
import { readable } from "./asking.js";
import { mended } from "./edits.js";
import { charactersIn, clipped, textOf } from "./variant.js";
import { NEEDS_CLIPPING, TOO_LONG, UNKNOWN } from "./writing.js";

const LAST = { n: number(MAX_PRIME) };

/** Characters that word processors put in, and what is typed for them elsewhere. */
const PLAIN = new Map(
  Object.entries({
    "‘’‚‛′ʼ": "'",
    "“”„‟″«»": '"',
    "…": "...",
    "–‐‑‒−": "-",
    "—―": "--",
    "\u00a0\u202f\u2009\u2002\u2003": " ",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad": "",
  }).flatMap(([characters, plain]) => [...characters].map((character) => [character, plain])),
);

/** A text with plain quotes, dashes, dots and spaces. */
export const plain = (text) =>
  [...text].map((character) => PLAIN.get(character) ?? character).join("");

/** Says of a beginning by how much it is too long to be sent. */
function tooLong(variant) {
  const length = charactersIn(textOf(variant));
  const message = t("has {n} characters, and a model reads {most} at most.", {
    n: number(length),
    most: number(MAX_PRIME),
  });
  return new Problem(422, message, [{ field: "prime", message }], 0, TOO_LONG);
}

/** What the server advises, and buttons do. */
const ADVICE = /\. Remove them, or (?:set unknown=skip|skip them)$/;

/**
 * What to say about a problem with a variant, and what can be done.
 *
 * @returns {{shown: Problem, mends: {label: string, mended: () => Promise<Variant>}[]}}
 *   `mended` resolves to the variant to write instead
 */
export function mendsOf(problem, variant, studio) {
  const mends = mendsBy(problem, variant, studio);
  if (problem.code === TOO_LONG) return { shown: tooLong(variant), mends };
  if (!mends.length || !problem.errors.length) return { shown: problem, mends };
  const { status, code } = problem;
  const errors = problem.errors.map(({ field, message }) => ({
    field,
    message: message.replace(ADVICE, "."),
  }));
  // The text of a branch is not in the form.
  const shown =
    variant.parent === null
      ? new Problem(status, problem.message, errors, 0, code)
      : new Problem(status, t("The text {has}", { has: errors[0].message }), [], 0, code);
  return { shown, mends };
}

function mendsBy({ code }, variant, studio) {
  const text = textOf(variant);
  if (code === NEEDS_CLIPPING)
    return [
      {
        label: t("Continue from the last {n} characters", LAST),
        mended: async () => studio.clipped(variant),
      },
    ];
  if (code === TOO_LONG)
    return [
      {
        label: t("Begin with the last {n} characters", LAST),
        mended: async () => mended(variant, clipped(text)),
      },
    ];
  if (code !== UNKNOWN) return [];
  const skip = async () => mended(variant, await readable(variant.model, text)) ?? variant;
  const mends = [{ label: t("Skip unknown characters"), mended: skip }];
  if (plain(text) !== text)
    mends.unshift({
      label: t("Use plain quotes, dots and dashes"),
      mended: async () => mended(variant, plain(text)),
    });
  return mends;
}
