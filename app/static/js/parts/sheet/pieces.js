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
}
