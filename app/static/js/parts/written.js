// A text of /sample to its end, however many servers write it. A server that stops ends a text with
// the state to continue it from; where one is lost without a word, the same request gives the same
// text again, and what the page has of it is skipped. Knows no view.

import { events, Problem, pause, request, wasAborted } from "../api.js";
import { t } from "../language.js";

/** Milliseconds for which a server that went away is waited for, and between two attempts. */
const PATIENCE = 60_000;
const FIRST_DELAY = 250;
const LONGEST_DELAY = 4000;
/** Answers in a row that break off with nothing new: the next one would, too. */
const STUCK = 2;
/** Of a server that is full, or of a proxy that has lost it. */
const PASSING = [0, 429, 502, 503, 504];
const LOST = t("The connection was lost before the text ended.");
const CHANGED = t("The model was trained further meanwhile; the text ends here.");

/**
 * Yields `{text, json}` as the text is written, with the details of its characters in `json` if
 * they were asked for, and at last `{end}`. Throws a Problem, or an AbortError. With `isOngoing` a
 * server that is away at first is waited for, too: the page has the beginning of the text.
 */
export async function* written(fields, signal, { isOngoing = false } = {}) {
  const rest = new Rest(fields, isOngoing);
  for (;;) {
    try {
      yield* rest.answer(signal);
      if (rest.end) return yield { end: rest.end };
    } catch (error) {
      rest.check(error);
    }
    await rest.wait(signal);
  }
}

/** What is still to be asked for, and how many characters of the answer the page has. */
class Rest {
  end = null;
  #fields;
  #isOngoing;
  #had = 0;
  #seen = 0;
  /** Characters before the answer. */
  #before = 0;
  #digest = null;
  #isBegun = false;
  #isMoved = false;
  #began = performance.now();
  #answers = 0;
  #waited = 0;
  #stuck = 0;

  constructor(fields, isOngoing) {
    this.#fields = fields;
    this.#isOngoing = isOngoing;
  }

  /** Yields what is new in an answer, which may break off. */
  async *answer(signal) {
    this.#had = Math.max(this.#had, this.#seen);
    this.#seen = 0;
    this.#isMoved = false;
    const headers = { Accept: "text/event-stream" };
    const response = await request("/sample", { json: this.#fields, headers, signal });
    this.#determined(response.headers);
    this.#answers += 1;
    this.#stuck += 1;
    for await (const { event, data } of events(response)) {
      signal.throwIfAborted();
      if (event === "end") this.#ended(JSON.parse(data));
      else if (event === "text") {
        const piece = this.#new(data);
        if (!piece) continue;
        this.#progressed();
        yield piece;
      }
    }
  }

  /** Takes from the headers what the text depends on. */
  #determined(headers) {
    const digest = headers.get("x-model-digest");
    if (this.#isBegun && digest !== this.#digest) throw new Problem(409, CHANGED);
    this.#digest = digest;
    if (!this.#fields.continue_from)
      this.#fields = { seed: Number(headers.get("x-seed")), ...this.#fields };
  }

  /** The part of a piece that the page does not have; null if it has all. */
  #new(json) {
    const { text, characters } = JSON.parse(json);
    const skipped = this.#had - this.#seen;
    const length = characters?.length ?? [...text].length;
    this.#seen += length;
    if (skipped <= 0) return { text, json: characters && json, length };
    if (skipped >= length) return null;
    return partOf({ text, characters }, skipped);
  }

  #ended(end) {
    if (end.finish_reason !== "shutdown") {
      const characters = this.#before + end.characters;
      // Of several servers, none knows how long it took.
      const seconds = this.#answers > 1 ? (performance.now() - this.#began) / 1000 : end.seconds;
      this.end = { ...end, characters, seconds };
      return;
    }
    this.#isMoved = true;
    if (!end.state) return;
    this.#progressed();
    this.#before += end.characters;
    this.#had = Math.max(0, this.#had - this.#seen);
    this.#seen = 0;
    const { prime: _, ...fields } = this.#fields;
    this.#fields = { ...fields, continue_from: end.state, length: fields.length - end.characters };
  }

  #progressed() {
    this.#isBegun = true;
    this.#waited = 0;
    this.#stuck = 0;
  }

  /** Throws an error that another attempt would not mend. */
  check(error) {
    if (wasAborted(error)) throw error;
    if (error.status === 409 && this.#isBegun) throw new Problem(409, CHANGED);
    if (error instanceof Problem && !PASSING.includes(error.status)) throw error;
    if (this.#isBegun || this.#isOngoing || error.code === "shutting_down") return;
    throw error instanceof Problem ? error : new Problem(0, LOST);
  }

  /** Waits before the next attempt; throws a Problem after too many. */
  async wait(signal) {
    const isNew = !this.#isBegun && !this.#isOngoing;
    const isHopeless = isNew && !this.#isMoved && this.#answers > 0;
    if (isHopeless || this.#waited > PATIENCE || this.#stuck >= STUCK) throw new Problem(0, LOST);
    const delay = Math.min(LONGEST_DELAY, Math.max(FIRST_DELAY, this.#waited));
    this.#waited += delay;
    await pause(delay, signal);
  }
}

/** A piece without its first characters. */
export function partOf({ text, characters }, skipped) {
  if (!characters) {
    const rest = [...text].slice(skipped);
    return { text: rest.join(""), length: rest.length };
  }
  const rest = characters.slice(skipped);
  const left = rest.map(({ char }) => char).join("");
  return {
    text: left,
    json: JSON.stringify({ text: left, characters: rest }),
    length: rest.length,
  };
}
