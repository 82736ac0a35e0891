// A variant: a text of Write, and how it came about. Plain data, so that it can be kept, saved and
// read back. Knows no element and no server.

import { MAX_PRIME } from "../../limits.js";
import { lastAtOrBefore } from "../../parts/search.js";

/**
 * @typedef {object} Variant positions are in UTF-16 units
 * @property {string} id
 * @property {?string} parent the id of the variant that it branches from
 * @property {?number} at where it leaves its parent's text
 * @property {string} name what somebody called it; empty if nobody did
 * @property {string} created RFC 3339
 * @property {string} model
 * @property {?string} style
 * @property {number} temperature
 * @property {string} seed
 * @property {{kind: string, text: string}[]} pieces "given" by whoever began it, "changed" by
 *   choosing a character or typing, "kept" behind what was typed, or "written"
 * @property {number} base where the model began to write, after what it shares with its parent
 * @property {number} shared characters written before `base`
 * @property {number} own characters written after `base`
 * @property {{at: number, state: string}[]} marks states of the server's to write on from, sorted
 * @property {?number} from where the model began to read, if it did not read all up to `base`
 */

const KINDS = ["given", "changed", "kept", "written"];
/** Characters that a mark may be behind, so that one more can still be sent with its state. */
const REACH = MAX_PRIME - 1;

/** Counts characters: a character above U+FFFF takes two units. */
export const charactersIn = (text) => {
  let pairs = 0;
  for (let i = 0; i < text.length; i += 1) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) pairs += 1;
  return text.length - pairs;
};

const fits = (text, most = MAX_PRIME) => text.length <= most || charactersIn(text) <= most;

/** Not crypto.randomUUID, which needs HTTPS. */
const newId = () =>
  `${Date.now().toString(36)}-${Math.floor(Math.random() * 2 ** 40).toString(36)}`;

export const textOf = ({ pieces }) => pieces.map(({ text }) => text).join("");

export const lengthOf = ({ pieces }) => pieces.reduce((sum, { text }) => sum + text.length, 0);

/** The text that a variant was given to begin with. */
export const primeOf = ({ pieces }) => (pieces[0]?.kind === "given" ? pieces[0].text : "");

/** Characters of a variant that a model wrote. */
export const writtenIn = ({ shared, own }) => shared + own;

/** Pieces up to a position. */
export function piecesBefore(pieces, at) {
  const cut = [];
  let left = at;
  for (const { kind, text } of pieces) {
    if (left <= 0) break;
    cut.push({ kind, text: text.slice(0, left) });
    left -= text.length;
  }
  return cut;
}

export function made(settings, pieces, rest) {
  const { model, style, temperature, seed } = settings;
  const written = pieces.filter(({ kind }) => kind === "written" || kind === "kept");
  return {
    id: newId(),
    parent: null,
    at: null,
    name: "",
    created: new Date().toISOString(),
    model,
    style: style ?? null,
    temperature,
    seed,
    pieces: pieces.filter(({ text }) => text),
    base: pieces.reduce((sum, { text }) => sum + text.length, 0),
    shared: written.reduce((sum, { text }) => sum + charactersIn(text), 0),
    own: 0,
    marks: [],
    from: null,
    ...rest,
  };
}

/** A text that begins with a prime. */
export const begun = (settings) =>
  made(settings, [{ kind: "given", text: settings.prime ?? "" }], {});

export const marksUpTo = ({ marks }, at) => marks.filter((mark) => mark.at <= at);

/** A variant that has another character at a position, and is to be written on from there. */
export function branched(variant, at, char) {
  const pieces = [...piecesBefore(variant.pieces, at), { kind: "changed", text: char }];
  return made(variant, pieces, { parent: variant.id, at, marks: marksUpTo(variant, at) });
}

/** The same beginning with other settings: a sibling. */
export function again(variant, settings) {
  const isOther = settings.model !== variant.model || (settings.style ?? null) !== variant.style;
  return made(settings, piecesBefore(variant.pieces, variant.base), {
    parent: variant.parent,
    at: variant.at,
    // A state belongs to its model, and what was read in a style to that style.
    marks: isOther ? [] : marksUpTo(variant, variant.base),
    from: variant.from,
  });
}

/** A variant to be written on from the end of another, of which only the last part is read. */
export function onward(variant) {
  const at = lengthOf(variant);
  const from = at - clipped(textOf(variant)).length;
  return made(variant, variant.pieces, { parent: variant.id, at, from });
}

/** Where two texts part: the first unit that differs, never within a character. */
export function partingOf(one, other) {
  const most = Math.min(one.length, other.length);
  let at = 0;
  while (at < most && one.charCodeAt(at) === other.charCodeAt(at)) at += 1;
  const isWithin = at > 0 && (one.charCodeAt(at - 1) & 0xfc00) === 0xd800;
  return isWithin ? at - 1 : at;
}

// Writing on

/**
 * What to ask /sample for, to write after the first `at` units: `{prime}`, `{continue_from}` or
 * both. Null if no state is near enough, so that only a part of the text could be sent.
 */
export function readingOf(variant, at) {
  const text = textOf(variant);
  const whole = text.slice(0, at);
  if (fits(whole, REACH)) return { prime: whole };
  const mark = variant.marks[lastAtOrBefore(variant.marks, at, (one) => one.at)];
  const rest = mark && text.slice(mark.at, at);
  if (mark && fits(rest)) return { continue_from: mark.state, ...(rest && { prime: rest }) };
  return fits(whole) ? { prime: whole } : null;
}

/** The end of a text that is too long for a prime. */
export function clipped(text) {
  if (fits(text)) return text;
  const characters = [...text.slice(-2 * MAX_PRIME)];
  return characters.slice(-MAX_PRIME).join("");
}

/** Where the writing resumes: at the last state of its own, or where it began. */
export function resumedFrom(variant) {
  const mark = variant.marks.at(-1);
  return mark && mark.at > variant.base ? mark : { at: variant.base, state: null };
}

/** The request that wrote, or will write, what follows `resumedFrom`; null as `readingOf`. */
export function requestOf(variant) {
  const { at, state } = resumedFrom(variant);
  if (state) return { continue_from: state };
  if (variant.from === null) return readingOf(variant, at);
  return { prime: textOf(variant).slice(variant.from, at) };
}

/** Characters to ask for at once, so that every character is in reach of a state. */
export function stepOf(request, left) {
  return Math.min(left, Math.max(1, REACH - charactersIn(request.prime ?? "")));
}

/** Adds what was written. */
export function grow(variant, text, characters) {
  const last = variant.pieces.at(-1);
  const length = lengthOf(variant);
  if (last?.kind === "written" && length > variant.base) last.text += text;
  else variant.pieces.push({ kind: "written", text });
  variant.own += characters;
}

/** Adds a state at the end of the text. */
export function mark(variant, state) {
  const at = lengthOf(variant);
  if (state && variant.marks.at(-1)?.at !== at) variant.marks.push({ at, state });
}

// Links

/** What a link to a variant holds; null if none can hold it. */
export function linkOf(variant) {
  const prime = textOf(variant).slice(0, variant.base);
  if (variant.from !== null || !fits(prime)) return null;
  const { model, style, temperature, seed, own } = variant;
  return { model, style, prime, temperature, length: own, seed };
}

// What was kept or saved

const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/** A variant from what was stored, whoever stored it; null if it makes none. */
export function variantFrom(stored) {
  if (!isText(stored?.id) || !isText(stored.model) || !Array.isArray(stored.pieces)) return null;
  const pieces = stored.pieces
    .filter((piece) => KINDS.includes(piece?.kind) && isText(piece.text) && piece.text)
    .map(({ kind, text }) => ({ kind, text }));
  if (pieces.length !== stored.pieces.length) return null;
  const { base, shared, own, temperature, at } = stored;
  if (![base, shared, own].every(isCount) || base > lengthOf({ pieces })) return null;
  if (!(temperature >= 0 && temperature <= 10) || !/^\d{1,15}$/.test(stored.seed)) return null;
  const marks = Array.isArray(stored.marks) ? stored.marks : [];
  return {
    id: stored.id,
    parent: isText(stored.parent) ? stored.parent : null,
    at: isCount(at) ? at : null,
    name: isText(stored.name) ? stored.name : "",
    created: isText(stored.created) ? stored.created : new Date().toISOString(),
    model: stored.model,
    style: isText(stored.style) ? stored.style : null,
    temperature,
    seed: stored.seed,
    pieces,
    base,
    shared,
    own,
    marks: marks.filter((mark) => isCount(mark?.at) && isText(mark.state)),
    from: isCount(stored.from) && stored.from <= base ? stored.from : null,
  };
}
