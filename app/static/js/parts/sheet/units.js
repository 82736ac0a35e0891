// Positions in a text, which count UTF-16 units as JavaScript's strings do. A character beyond
// U+FFFF is two of them, and no position of a character is between the two. Knows no element.

const isHead = (unit) => unit >= 0xd800 && unit < 0xdc00;
const isTail = (unit) => unit >= 0xdc00 && unit < 0xe000;

/** Whether a position is in the middle of a character. */
export const isInside = (text, at) => isTail(text.charCodeAt(at));

/** The position of the character after the one at a position. */
export const after = (text, at) => at + (isHead(text.charCodeAt(at)) ? 2 : 1);

/** The position of the character before the one at a position. */
export const before = (text, at) => at - (isTail(text.charCodeAt(at - 1)) ? 2 : 1);
