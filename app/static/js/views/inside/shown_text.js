// Which text is looked at: passages of unseen text, one that the model wrote, or one's own; and its
// reading. Knows no element.

import { Latest, wasAborted } from "../../api.js";
import { MAX_INSPECTED } from "../../limits.js";
import { generate, Reading } from "./reading.js";

/** The seed of the text that the model writes unasked. */
export const FIRST_SEED = 1;

export class ShownText {
  /** One's own text, while that is what is shown. */
  own = null;
  /** Which passages of unseen text are shown, −1 if those of another cell; null while none are. */
  turn = null;
  reading = null;
  /** Whether a person chose the text. */
  isChosen = false;
  #looked;
  #tell;
  #opening = new Latest();

  /**
   * @param {() => {model: object, cell: object, findings: object, hypothesis: object | null,
   *   style: string}} looked what is looked at now
   * @param {{changed: () => void, writes: () => void, begins: (text: string) => void,
   *   opened: () => void, more: (block: object) => void, failed: (error: Error) => void}} tell
   *   is told when a text of one's own comes or goes, when the model writes a text, when a text is
   *   opened, has been read, has more cells, or could not be read
   */
  constructor(looked, tell) {
    this.#looked = looked;
    this.#tell = tell;
  }

  /** Ends what is on its way, and forgets the reading. */
  leave() {
    this.#opening.abort();
    this.#close();
  }

  readOwn(text) {
    this.own = text.slice(0, MAX_INSPECTED);
    this.isChosen = true;
    this.#tell.changed();
    return this.#read(this.own);
  }

  /** Passages of unseen text; those that show what the cell tracks at turn 0. */
  async readUnseen(turn) {
    const { findings, cell, hypothesis } = this.#looked();
    const { text, seams } = findings.unseen(cell, turn, hypothesis ?? undefined);
    if (!text) return this.readGenerated(FIRST_SEED);
    this.isChosen = false;
    this.#forgetOwn();
    return this.#read(text, seams, turn);
  }

  async readGenerated(seed) {
    this.isChosen = seed !== FIRST_SEED;
    const { model, style } = this.#looked();
    const signal = this.#opening.begin();
    this.#tell.writes();
    try {
      const text = await generate(model, seed, style, signal);
      this.#forgetOwn();
      await this.#read(text);
    } catch (error) {
      if (!wasAborted(error)) this.#tell.failed(error);
    }
  }

  /** Reads the same text again, in another style; a model writes another one. */
  readAgain() {
    if (this.own !== null) return this.#read(this.own);
    if (this.turn !== null) return this.readUnseen(Math.max(0, this.turn));
    return this.readGenerated(FIRST_SEED);
  }

  #forgetOwn() {
    if (this.own === null) return;
    this.own = null;
    this.#tell.changed();
  }

  #close() {
    this.reading?.close();
    this.reading = null;
  }

  async #read(text, seams = [], turn = null) {
    const { model, cell, findings, hypothesis, style } = this.#looked();
    if (!text || !model) return;
    this.turn = turn;
    this.#close();
    this.#tell.begins(text);
    const signal = this.#opening.begin();
    const offeredIn = (layer) => findings.offeredIn(layer);
    const wish = { cell, offeredIn, hypothesis: hypothesis?.name, seams, style, signal };
    try {
      this.reading = await Reading.open(model, text, wish);
      this.#tell.opened();
      this.#readAhead(signal);
    } catch (error) {
      if (!wasAborted(error)) this.#tell.failed(error);
    }
  }

  /** Has cells brought that are a click away. */
  async #readAhead(signal) {
    try {
      for await (const block of this.reading.ahead(signal)) this.#tell.more(block);
    } catch (error) {
      if (!wasAborted(error)) this.#tell.failed(error);
    }
  }
}
