// What the server reported about each character that it wrote. Knows no element.

import { lastAtOrBefore } from "../search.js";

const NONE = '{"characters":[]}';

export class Pieces {
  #pieces = [];

  /**
   * Adds a piece of text.
   *
   * @param {number} start the position of its first character
   * @param {string} json the data of its event, not parsed until somebody asks about a character
   */
  add(start, json) {
    this.#pieces.push({ start, json });
  }

  /** What is known of the characters before a position. */
  before(position) {
    const before = new Pieces();
    before.#pieces = this.#pieces.filter(({ start }) => start < position);
    // The last of them may go on beyond it.
    before.add(position, NONE);
    return before;
  }

  /** The `{char, probability, top}` of the character at a position; null if there is none. */
  at(position) {
    const piece = this.#pieces[lastAtOrBefore(this.#pieces, position, ({ start }) => start)];
    if (!piece) return null;
    let at = piece.start;
    for (const character of JSON.parse(piece.json).characters) {
      if (at === position) return character;
      at += character.char.length;
    }
    return null;
  }

  /** The same of a unit of the text that begins at a position; null if not all of it is known. */
  unitAt(position, unit) {
    const parts = [];
    let at = position;
    for (const char of unit) {
      const known = this.at(at);
      if (known?.char !== char) return null;
      parts.push(known);
      at += char.length;
    }
    return jointly(parts);
  }
}

/**
 * The details of a unit from those of its characters: how likely they all were, and what might have
 * come in the place of the first. A probability is null where one of theirs is.
 */
export function jointly(parts) {
  if (parts.length === 1) return parts[0];
  const isKnown = parts.every(({ probability }) => probability !== null);
  return {
    char: parts.map(({ char }) => char).join(""),
    probability: isKnown ? parts.reduce((product, one) => product * one.probability, 1) : null,
    top: parts[0].top,
  };
}
