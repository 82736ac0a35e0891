// What the server told about the characters that it wrote, piece by piece. Knows no element.

import { lastAtOrBefore } from "../search.js";

export class Pieces {
  #pieces = [];

  /**
   * Adds a piece of text.
   *
   * @param {number} start the position of its first character
   * @param {string} json the data of its event, kept as it came: nobody asks about most of it
   */
  add(start, json) {
    this.#pieces.push({ start, json });
  }

  /** `{char, probability, top, …}` of the character at a position; null if nothing was told. */
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
