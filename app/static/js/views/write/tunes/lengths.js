// Lengths of notes that no single sign of a score stands for, such as five eighths, as notes tied to
// each other. abcjs would draw the next longer sign, or none. Knows no page.

/** What is not a note with its length: words, fields, chords and grace notes, and then one that is. */
const NOTES =
  /"[^"]*"|![^!\s]*!|\[[^\]|]*\]|\{[^}]*\}|(?<![<>])([_=^]*[A-Ga-gz][,']*)(\d+)(?![\d/<>])/g;
/** With no, one or two dots. */
const SIGNS = [1, 3, 7];
/** Whole notes of the longest sign that abcjs has. */
const LONGEST_SIGN = 2;
/** Ties of one note; what is longer stays as it is written. */
const MOST = 12;

/** Lines of music in which each note has a sign; `unit` is the length that `L:` gives, of a whole. */
export function tied(line, unit) {
  return line.replace(NOTES, (all, note, length) => {
    if (!note) return all;
    const parts = signsOf(Number(length), LONGEST_SIGN / unit);
    if (!parts || parts.length === 1) return all;
    return parts.map((part) => `${note}${part}`).join(note.startsWith("z") ? "" : "-");
  });
}

/** A length as lengths of signs, the longest first; null if it takes too many. */
export function signsOf(length, longest) {
  const parts = [];
  for (let rest = length; rest > 0; rest -= parts.at(-1)) {
    if (parts.length === MOST) return null;
    parts.push(longestSign(Math.min(rest, longest)));
  }
  return parts;
}

/** The longest sign that is not longer than a length of at least 1. */
function longestSign(length) {
  const power = 2 ** Math.floor(Math.log2(length));
  const lengths = SIGNS.map((sign) => (sign * power) / 2 ** Math.floor(Math.log2(sign)));
  return lengths.findLast((one) => one <= length && Number.isInteger(one));
}

/** What `L:` gives, or else `M:` by the standard: a sixteenth where a bar is shorter than 3/4. */
export function unitOf(fields) {
  const value = (wanted) => fields.find(([name]) => name === wanted)?.[1];
  const length = /^1\/(\d+)$/.exec(value("L") ?? "");
  if (length) return 1 / Number(length[1]);
  if (value("L") === "1") return 1;
  const meter = /^(\d+)\/(\d+)$/.exec(value("M") ?? "");
  return meter && meter[1] / meter[2] < 0.75 ? 1 / 16 : 1 / 8;
}
