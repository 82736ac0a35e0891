// Units of a text as people see them, grapheme clusters: an emoji of several code points is one, and
// so is a letter with its marks. Positions are in UTF-16 units, as in JavaScript's strings. Knows no
// element.

const segmenter = new Intl.Segmenter();
/** UTF-16 units on both sides of a position that are looked at: hardly a unit has as many. */
const AROUND = 64;
/** A network knows them as two characters. */
const LINE_END = "\r\n";
/** Below this only a carriage return joins the character behind it. */
const FIRST_MARK = 0x300;

const isPlain = (unit) => !(unit >= FIRST_MARK);

/** The position at which the unit begins that a position is in. */
export function startOf(text, at) {
  if (at <= 0 || (isPlain(text.charCodeAt(at)) && isPlain(text.charCodeAt(at - 1)))) return at;
  const from = Math.max(0, at - AROUND);
  const found = segmenter.segment(text.slice(from, at + AROUND)).containing(at - from);
  return found ? from + found.index : at;
}

/** The position of the unit after the one at a position. */
export function after(text, at) {
  const found = segmenter.segment(text.slice(at, at + AROUND)).containing(0);
  return at + (found && found.segment !== LINE_END ? found.segment.length : 1);
}

/** The position of the unit before the one at a position. */
export const before = (text, at) => startOf(text, at - 1);

/** The units of a text. */
export function unitsOf(text) {
  if (!/[\u{300}-\u{10ffff}]/u.test(text)) return [...text];
  return Array.from(segmenter.segment(text), ({ segment }) => segment).flatMap((unit) =>
    unit === LINE_END ? [...unit] : [unit],
  );
}

/** The units of characters, each as `[begin, end]` of the characters that it is made of. */
export function spansOf(chars) {
  let end = 0;
  return unitsOf(chars.join("")).map((unit) => {
    const begin = end;
    end += [...unit].length;
    return [begin, end];
  });
}
