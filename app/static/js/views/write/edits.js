// Variants whose text somebody changed by hand. Knows no element and no server.

import { begun, made, marksUpTo, partingOf, piecesBefore, textOf } from "./variant.js";

/** A variant whose text somebody typed into; null if it is the same. */
export function edited(variant, text, seed) {
  const before = textOf(variant);
  if (before === text) return null;
  const at = partingOf(before, text);
  const most = Math.min(before.length, text.length) - at;
  let end = 0;
  while (end < most && before.at(-1 - end) === text.at(-1 - end)) end += 1;
  // Only whole characters are the same.
  if (end && (text.charCodeAt(text.length - end) & 0xfc00) === 0xdc00) end -= 1;
  const pieces = [
    ...piecesBefore(variant.pieces, at),
    { kind: at ? "changed" : "given", text: text.slice(at, text.length - end) },
    { kind: "kept", text: text.slice(text.length - end) },
  ];
  const marks = marksUpTo(variant, at);
  return made({ ...variant, seed }, pieces, { parent: variant.id, at, marks });
}

/** A variant that begins with another text, because its model could not read this one. */
export function mended(variant, text) {
  if (variant.parent === null) return begun({ ...variant, prime: text });
  const other = edited(variant, text, variant.seed);
  if (!other) return null;
  return { ...other, parent: variant.parent, at: Math.min(variant.at, other.at) };
}
