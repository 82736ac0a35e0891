// Tunes in a text: whether it is ABC notation, where each tune begins and ends, and what must be put
// right before a reader of ABC can read it. Follows the ABC standard 2.1. Knows no element and no
// sound.

import { t } from "../../../language.js";
import { number } from "../../../ui.js";
import { tied, unitOf } from "./lengths.js";

/** UTF-16 units from a text's beginning that decide whether it is ABC. */
const LOOKED_AT = 8000;
/** Share of lines of music from which a text without `X:` and `K:` is ABC. */
const MOSTLY = 0.6;
/** UTF-16 units of a tune; a longer one is cut here, at a line. It takes a second to draw. */
export const LONGEST = 5000;

const FIELD = /^([A-Za-z+]):(.*)$/;
/** What lines of music are made of, once words in quotes and between `!` are left out. */
const MUSIC = /^[A-Ga-gxyzZHLMOPSTuv0-9|:[\](){}<>=_^,'/~.\-*\s\\&$!]+$/;
const NOTE = /[A-Ga-g]/;
const WORDS = /"[^"]*"|![^!\s]*!|\[[A-Za-z]:[^\]]*\]|%.*$/g;

/** Values that a reader knows what to do with; others are left out, or replaced. */
const VALUES = {
  X: /^[1-9]\d{0,5}$/,
  K: /^(?:none|HP|Hp|[A-G][#b♯♭]?\s*(?:m|maj|min|ion|dor|phr|lyd|mix|aeo|loc|exp)?[a-z]*)?(?:\s.*)?$/i,
  M: /^(?:C\|?|none|\(?[1-9]\d?(?:\+[1-9]\d?)*\)?\/(?:1|2|4|8|16|32))$/,
  L: /^1(?:\/(?:1|2|4|8|16|32|64|128))?$/,
  Q: /^(?:"[^"]*"\s*)?(?:(?:[1-9]\d?\/(?:1|2|4|8|16|32|64)\s*)+=\s*)?[1-9]\d{0,2}(?:\s*"[^"]*")?$/,
};

/** Whether a text is ABC notation. */
export function isAbc(text) {
  const head = text.slice(0, LOOKED_AT);
  if (/^X:\s*\d+\s*$/m.test(head) && /^K:/m.test(head)) return true;
  const lines = head.split("\n").filter((line) => line.trim() && !FIELD.test(line));
  const music = lines.filter((line) => isMusic(line) && line.includes("|"));
  return music.length > 1 && music.length >= MOSTLY * lines.length;
}

function isMusic(line) {
  const notes = line.replace(WORDS, "");
  return NOTE.test(notes) && MUSIC.test(notes);
}

/**
 * The tunes of a text, in its order.
 *
 * A tune begins with `X:` and ends with an empty line or the next `X:`; what stands between two
 * tunes is one too if it is music.
 *
 * @returns {{source: string, isWhole: boolean}[]} the last one may be unfinished
 */
export function tunesOf(text) {
  const parts = text.split(/\n[^\S\n]*\n\s*|\n(?=X:)/);
  return parts
    .map((source, i) => ({ source: source.trimEnd(), isWhole: i < parts.length - 1 }))
    .filter(({ source }) => isTune(source));
}

/** Whether a part has music: after a tune's fields lines with bars, else those that can be no words. */
function isTune(source) {
  const lines = source.split("\n");
  const hasNotes = (line) => !FIELD.test(line) && NOTE.test(line.replace(WORDS, ""));
  const key = lines.findIndex((line) => line.startsWith("K:"));
  if (key >= 0) return lines.slice(key).some(hasNotes);
  const isHeaded = /^[XTMLQ]:/.test(source);
  return lines.some((line) => line.includes("|") && (isHeaded ? hasNotes(line) : isMusic(line)));
}

/** Fields that are about a tune and not of its music: the page shows a title of its own. */
const ABOUT = /^[ABCDFGHNORSTZ]:/;

/**
 * A tune as a reader can read it, its music only, its title, and what was put right, in words.
 *
 * @param {{source: string, isWhole: boolean}} tune
 * @param {number} number - for `X:`, where it is missing
 * @returns {{abc: string, music: string, title: string, notes: string[]}}
 */
export function repaired({ source, isWhole }, number) {
  const notes = [];
  const lines = shortened(source, notes)
    .split("\n")
    // Directives are for printers and players; some would fetch or draw what is no music.
    .filter((line) => line.trim() && !/^(?:%|I:)/.test(line))
    .map((line) => oldLineEnd(line));
  if (!isWhole && lines.length) lines.push(closed(lines.pop()));
  // An ending (`|1`) of which nothing follows: abcjs would look for its notes.
  if (lines.length) lines.push(lines.pop().replace(/[|[]\s*\d[\d,.-]*[\s:|\]]*$/, "|"));
  const { header, body } = parted(lines);
  const checked = header.filter(([name, value]) => isKnown(name, value, notes));
  const has = (wanted) => checked.some(([name]) => name === wanted);
  if (!has("X")) checked.unshift(["X", `${number}`]);
  if (!has("K")) {
    checked.push(["K", "C"]);
    notes.push(t("It has no key (K:); read in C major."));
  }
  // The standard's order: X first, K last.
  const ordered = checked.toSorted(([a], [b]) => rank(a) - rank(b));
  const kept = [
    ...ordered.map(([name, value]) => `${name}:${value}`),
    ...body.map((line) => inlineChecked(line, notes)).filter((line) => line.trim()),
  ];
  return {
    abc: `${kept.join("\n")}\n`,
    music: `${musicOf(kept, unitOf(checked)).join("\n")}\n`,
    title: checked.find(([name]) => name === "T")?.[1] || t("Tune {number}", { number }),
    notes: [...new Set(notes)],
  };
}

const musicOf = (lines, unit) =>
  lines
    .filter((line) => !ABOUT.test(line))
    .map((line) => (FIELD.test(line) ? line : tied(line, unit)));

const rank = (name) => ({ X: 0, K: 2 })[name] ?? 1;

function shortened(source, notes) {
  if (source.length <= LONGEST) return source;
  notes.push(t("It is long: only its first {n} characters are shown.", { n: number(LONGEST) }));
  return source.slice(0, source.lastIndexOf("\n", LONGEST) + 1 || LONGEST);
}

/** The fields above the music, and all that follows; words in between are not a tune's. */
function parted(lines) {
  const key = lines.findIndex((line) => line.startsWith("K:"));
  const begin = key >= 0 ? key + 1 : firstOfMusic(lines);
  const header = lines.slice(0, begin).map((line) => FIELD.exec(line));
  const fields = header.filter(Boolean).map(([, name, value]) => [name, bare(value)]);
  return { header: fields.filter(([name]) => name !== "+"), body: lines.slice(begin) };
}

/** Without `K:`, what follows fields is music, and else a line that can be nothing else. */
function firstOfMusic(lines) {
  const first = lines.findIndex((line) => FIELD.test(line) || isMusic(line));
  const begin = lines.findIndex((line, i) => i >= first && !FIELD.test(line));
  return begin < 0 ? lines.length : begin;
}

/** A field's value without a comment. */
const bare = (text) => text.replace(/%.*$/, "").trim();

/** Whether a field's value makes sense; notes it otherwise. */
function isKnown(name, value, notes) {
  const isGood = VALUES[name]?.test(value) ?? true;
  if (!isGood && name !== "X")
    notes.push(t("“{field}” makes no sense; left out.", { field: `${name}:${value}` }));
  return isGood;
}

/** A line without the fields in it that make no sense: those of a line, or in brackets. */
function inlineChecked(line, notes) {
  const field = FIELD.exec(line);
  if (field) {
    const [, name, value] = field;
    return name === "X" || !isKnown(name, bare(value), notes) ? "" : line;
  }
  return line.replace(/\[([A-Za-z]):([^\]]*)\]/g, (all, name, value) =>
    name !== "I" && isKnown(name, value.trim(), notes) ? all : "",
  );
}

/** A line without the `!` at its end: in old ABC it ends a line of the score, as it does anyway. */
function oldLineEnd(line) {
  const marks = line.split("!").length - 1;
  return marks % 2 ? line.replace(/!\s*$/, "") : line;
}

/** The last line of an unfinished tune, without what was begun and not ended. */
function closed(line) {
  if (FIELD.test(line)) return line;
  let rest = line;
  if ((rest.split('"').length - 1) % 2) rest = rest.slice(0, rest.lastIndexOf('"'));
  for (const [open, close] of ["[]", "{}", "!!"]) {
    const at = rest.lastIndexOf(open);
    const isOpen =
      open === close ? (rest.split(open).length - 1) % 2 : at > rest.lastIndexOf(close);
    // `[1` is a first ending, `[|` a bar.
    if (at >= 0 && isOpen && !/^\[[\d|]/.test(rest.slice(at))) rest = rest.slice(0, at);
  }
  return rest.replace(/[(^_=~.\s]+$|\(\d+$/, "");
}
