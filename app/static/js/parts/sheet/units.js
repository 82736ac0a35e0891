// Positions in a text, in UTF-16 units as in JavaScript's strings. A character above U+FFFF takes
// two of them. Knows no element.

const isHead = (unit) => unit >= 0xd800 && unit < 0xdc00;
const isTail = (unit) => unit >= 0xdc00 && unit < 0xe000;

/** Whether a position is between the two units of a character. */
export const isInside = (text, at) => isTail(text.charCodeAt(at));

/** The position of the character after the one at a position. */
export const after = (text, at) => at + (isHead(text.charCodeAt(at)) ? 2 : 1);

/** The position of the character before the one at a position. */
export const before = (text, at) => at - (isTail(text.charCodeAt(at - 1)) ? 2 : 1);
