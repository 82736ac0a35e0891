// What a variant is shown as in a list. Knows no element.

import { textOf } from "./variant.js";

/** Units of the text on both sides of a change. */
const AROUND = 12;

/**
 * What a variant is shown as: its name, or how it begins, or the change that it branched with and
 * the text around it.
 *
 * @returns {{before: string, changed: string, after: string}}
 */
export function labelOf(variant) {
  if (variant.name) return { before: variant.name, changed: "", after: "" };
  const text = textOf(variant);
  if (variant.at === null) return { before: line(text.slice(0, 80)), changed: "", after: "" };
  const { at, change } = changeOf(variant);
  const end = at + change.length;
  return {
    before: `…${line(text.slice(Math.max(0, at - AROUND), at))}`,
    changed: line(change.slice(0, 40)),
    after: line(text.slice(end, end + 3 * AROUND)),
  };
}

/** The last change of a variant's own, and where it is; a deletion changes nothing into nothing. */
function changeOf(variant) {
  let found = { at: variant.at, change: "" };
  let at = 0;
  for (const { kind, text } of variant.pieces) {
    if (kind === "changed" && at >= variant.at) found = { at, change: text };
    at += text.length;
  }
  return found;
}

/** A text on one line. */
const line = (text) => text.replaceAll(/\s*\n\s*/g, " ⏎ ");
