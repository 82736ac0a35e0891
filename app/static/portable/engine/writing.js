// Writes texts, and draws names: what app/routes/names.py and models/decoding do, for one client.
// Knows no page and no worker.

import { blake2b, derivedSeed, draws } from "./draws.js";
import { limitsOf } from "./naming.js";

/** Alternatives to each character. */
const SHOWN = 5;
/** Draws for each name, and characters of all draws, after which a search ends. */
const DRAWS_PER_NAME = 200;
const MAX_CHARACTERS = 100_000;
/** Characters around a name that do not count. */
const WHITE_SPACE = 4;
/** Characters that make more names than are ever asked for. */
const MANY = 20;

/** The symbols of a model: characters, or the values of bytes. */
export class Vocabulary {
  #symbols;
  #ids;
  #isBytes;

  constructor({ tokens, symbols }) {
    this.#symbols = symbols;
    this.#isBytes = tokens === "bytes";
    this.#ids = new Map(symbols.map((symbol, id) => [symbol, id]));
  }

  get size() {
    return this.#symbols.length;
  }

  get isBytes() {
    return this.#isBytes;
  }

  /** A text as the model reads it. */
  asRead(text) {
    if (this.#isBytes) return text;
    const lines = text.replace(/\r\n?/g, "\n").normalize("NFC");
    return lines.replace(/(^|\n)\ufeff+/g, "$1");
  }

  /** The ids of each character; null for one that the model does not know. */
  encode(text) {
    return [...text].map((char) => {
      const symbols = this.#isBytes ? [...new TextEncoder().encode(char)] : [char];
      const ids = symbols.map((symbol) => this.#ids.get(symbol));
      return ids.includes(undefined) ? null : ids;
    });
  }

  /** An id's character, or `\xe3` for a byte that is not a character. */
  name(id) {
    const symbol = this.#symbols[id];
    if (!this.#isBytes) return symbol;
    return symbol < 128 ? String.fromCharCode(symbol) : `\\x${symbol.toString(16)}`;
  }

  /** A function from the next id to the characters that it completes. */
  decoder() {
    if (!this.#isBytes) return (id) => this.#symbols[id];
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => utf8.decode(Uint8Array.of(this.#symbols[id]), { stream: true });
  }
}

/** How likely each id is at a temperature above 0. */
export function likelihoods(logits, temperature = 1) {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const weights = logits.map((logit) => Math.exp((logit - top) / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

/** The id that a number from 0 to below 1 picks; at temperature 0 the likeliest. */
export function choose(logits, temperature, uniform) {
  if (!temperature) return logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  let left = uniform;
  const chosen = likelihoods(logits, temperature).findIndex((share) => {
    left -= share;
    return left < 0;
  });
  return chosen < 0 ? logits.length - 1 : chosen;
}

/** Yields ids as a reader reads them, each with the logits that it was chosen from. */
function* chosen(reader, { temperature, seed }) {
  const draw = draws(seed);
  for (let position = 0; ; position++) {
    const { logits } = reader;
    if (!logits.every(Number.isFinite)) throw new Error("The network overflows.");
    const id = choose(logits, temperature, draw(position));
    reader.read(id);
    yield { id, logits };
  }
}

/** Yields each character with its probability at temperature 1, and the likeliest in its place. */
function* characters(reader, vocabulary, options) {
  const decode = vocabulary.decoder();
  let parts = [];
  for (const { id, logits } of chosen(reader, options)) {
    const shares = likelihoods(logits);
    const top = [...shares.keys()].sort((a, b) => shares[b] - shares[a] || a - b).slice(0, SHOWN);
    parts.push({ share: shares[id], top: top.map((one) => [vocabulary.name(one), shares[one]]) });
    const [first, ...rest] = decode(id);
    if (first === undefined) continue;
    // A character of several bytes is as likely as they are together.
    const product = parts.reduce((all, { share }) => all * share, 1);
    const end = reader.ids.length;
    yield { char: first, probability: product, top: parts[0].top, end };
    const last = parts.at(-1);
    for (const char of rest) yield { char, probability: last.share, top: last.top, end };
    parts = [];
  }
}

/**
 * Yields a text's characters; `end` counts the ids read up to and including a character. What may
 * be the beginning of a stop string is held back. Returns why the text ends.
 */
export function* write(reader, vocabulary, options) {
  const stops = options.stops.map((stop) => [...stop]);
  const held = [];
  let said = 0;
  for (const character of characters(reader, vocabulary, options)) {
    held.push(character);
    const text = held.map(({ char }) => char);
    const stop = stops.find((one) => endsWith(text, one));
    if (stop) {
      yield* held.slice(0, -stop.length);
      return "stop";
    }
    if (said + held.length >= options.length) {
      yield* held;
      return "length";
    }
    const kept = Math.max(0, ...stops.map((one) => begun(text, one)));
    said += held.length - kept;
    yield* held.splice(0, held.length - kept);
  }
}

const endsWith = (text, end) => end.every((char, i) => char === text[text.length - end.length + i]);

/** How many characters at the end of a text begin a stop string. */
function begun(text, stop) {
  let count = Math.min(text.length, stop.length - 1);
  while (count && !endsWith(text, stop.slice(0, count))) count--;
  return count;
}

// Names

/** What Python counts as white space or as a line's end, and JavaScript does not. */
const SEPARATORS = "\u001c\u001d\u001e\u001f\u0085";
const LINE_ENDS = "\n\r\v\f\u001c\u001d\u001e\u0085\u2028\u2029";

const isSpace = (char) => SEPARATORS.includes(char) || (char !== "\ufeff" && char.trim() === "");

/** A text without white space at its beginning, as the server has it. */
export function strippedLeft(text) {
  const chars = [...text];
  const first = chars.findIndex((char) => !isSpace(char));
  return first < 0 ? "" : chars.slice(first).join("");
}

/** The same at its end. */
export function strippedRight(text) {
  const chars = [...text];
  return chars.slice(0, chars.findLastIndex((char) => !isSpace(char)) + 1).join("");
}

export const stripped = (text) => strippedRight(strippedLeft(text));

/** White space around lines that older checkpoints did not leave out. */
const AROUND = ["", " ", "  ", "\t", "\r"];

/**
 * Whether a line is, in all likelihood, one of a list.
 *
 * @param {Uint32Array} hashes the upper halves of its lines' hashes, increasing
 */
export function isKnown(line, hashes) {
  const name = stripped(line);
  const forms = new Set([line, ...AROUND.map((around) => name + around)]);
  const wanted = [...forms].map((form) => Number(blake2b(new TextEncoder().encode(form)) >> 32n));
  return wanted.some((hash) => {
    let [low, high] = [0, hashes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (hashes[middle] < hash) low = middle + 1;
      else high = middle;
    }
    return hashes[low] === hash;
  });
}

/**
 * Looks for names, one draw after the other; yields `{name, novel}`, or null for a draw that gives
 * none. Returns whether all were found. `fields` are those of `limitsOf`, and how many, how and
 * which.
 *
 * @param {(text: string) => void} begin makes the reader one that has read so much
 */
export function* search(reader, vocabulary, hashes, begin, fields) {
  const { count, temperature, seed, novel: onlyNovel } = fields;
  const limits = limitsOf(fields);
  const free = limits.longest - [...limits.beginning].length;
  const options = { temperature, length: free + 1 + WHITE_SPACE, stops: ["\n"] };
  const wanted = limits.isPossible ? Math.min(count, possible(vocabulary, free)) : 0;
  const most = temperature ? DRAWS_PER_NAME * count : 1;
  const found = new Set();
  let read = 0;
  for (let drawn = 0; drawn < most && read < MAX_CHARACTERS && found.size < wanted; drawn++) {
    begin(limits.beginning);
    const text = write(reader, vocabulary, { ...options, seed: derivedSeed(seed, drawn) });
    let line = limits.beginning;
    let step = text.next();
    for (; !step.done; step = text.next()) line += step.value.char;
    read += [...line].length + 1;
    const name = stripped(line);
    const isOne =
      step.value === "stop" &&
      limits.allow(name) &&
      ![...name].some((char) => LINE_ENDS.includes(char)) &&
      !found.has(name);
    const novel = isOne && !isKnown(line, hashes);
    const isFound = isOne && (novel || !onlyNovel);
    if (isFound) found.add(name);
    yield isFound ? { name, novel } : null;
  }
  return found.size === count;
}

/** The number of names with up to so many free characters. */
function possible(vocabulary, free) {
  const each = vocabulary.isBytes ? 0x10ffff : vocabulary.size;
  let total = 0;
  for (let length = 0; length <= Math.min(free, MANY); length++) total += each ** length;
  return total;
}
