// What a variant is shown as in a list, and called as a file. Knows no element.

import { startOf } from "../../parts/sheet/units.js";
import { textOf } from "./variant.js";

/** UTF-16 units of the text on both sides of a change, of a beginning and of a change. */
const AROUND = 12;
const FIRST = 80;
const CHANGED = 40;

/**
 * What a variant is shown as: its name, or how it begins, or the change that it branched with and
 * the text around it.
 *
 * @returns {{before: string, changed: string, after: string}}
 */
export function labelOf(variant) {
  if (variant.name) return { before: variant.name, changed: "", after: "" };
  const text = textOf(variant);
  if (variant.at === null) return { before: line(part(text, 0, FIRST)), changed: "", after: "" };
  const { at, change } = changeOf(variant);
  const end = at + change.length;
  return {
    before: `…${line(part(text, Math.max(0, at - AROUND), at))}`,
    changed: line(part(change, 0, CHANGED)),
    after: line(part(text, end, end + 3 * AROUND)),
  };
}

/** A name for a variant's file: its own, or its first words. */
export function fileName(variant) {
  const { before } = labelOf(variant);
  const words = before.replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-+|-+$/g, "");
  return words.slice(0, startOf(words, 40)) || "text";
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

/** A part of a text, between whole characters. */
const part = (text, begin, end) => text.slice(startOf(text, begin), startOf(text, end));

/** A text on one line. */
const line = (text) => text.replaceAll(/\s*\n\s*/g, " ⏎ ");
