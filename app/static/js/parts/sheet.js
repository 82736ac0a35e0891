// A sheet of text as it is generated: appended once a frame, and every character can show how
// likely it was. Knows no controls and no URL.

import { Problem, wasAborted } from "../api.js";
import { el } from "../ui.js";
import { Alternatives, spokenOf } from "./sheet/alternatives.js";
import { Blocks } from "./sheet/blocks.js";
import { Pieces } from "./sheet/pieces.js";
import { after, before } from "./sheet/units.js";
import { written } from "./written.js";

/** UTF-16 units up to which probabilities are requested; each takes about 150 bytes to keep. */
const REMEMBERED = 200_000;
/** Pixels at the top and the bottom of the window where a character counts as out of sight. */
const OUT_OF_SIGHT = 90;
const COMPLETE = ["length", "stop"];
const ENDS = {
  copied: "Every character that could follow would copy the corpus.",
  error: "The network produced invalid numbers; the text ends here.",
};

export class Sheet {
  /** `status` is "empty", "writing" or "done". */
  state = { status: "empty", characters: 0, seconds: 0, end: null, problem: null };
  #branch;
  #changed;
  #alternatives = new Alternatives((index) => this.#take(index));
  #blocks = new Blocks(this.#alternatives.mark);
  #pieces = new Pieces();
  #heard = el("p", { class: "heard", "aria-live": "polite" });
  #text;
  /** Where the prime ends. */
  #primed = 0;
  #chosen = null;
  #waiting = "";
  #frame = 0;
  #controller = null;

  /**
   * @param {string} label
   * @param {{branch: (text: string) => void, changed: () => void}} handlers
   *   `branch` gets the text up to and including the chosen alternative
   */
  constructor(label, { branch, changed }) {
    this.#branch = branch;
    this.#changed = changed;
    this.#text = el(
      "div",
      {
        class: "text",
        tabindex: "0",
        role: "group",
        "aria-label": label,
        "aria-description":
          "Move between characters with the arrow keys; choose an alternative with 1 to 5",
        on: {
          click: (event) => this.#clicked(event),
          keydown: (event) => this.#pressed(event),
          copy: (event) => this.#copied(event),
          blur: (event) => this.#left(event),
        },
      },
      this.#blocks.body,
    );
    const { root } = this.#alternatives;
    this.root = el("div", { class: "sheet" }, this.#text, this.#heard, root);
    addEventListener("scroll", () => this.#alternatives.isOpen && this.#place(), { passive: true });
    addEventListener("resize", () => this.#choose(null));
  }

  /** The text so far, the prime included. */
  get text() {
    return this.#blocks.text;
  }

  // Writing

  /**
   * Requests a text from /sample with these fields, and writes it: after their prime or, with
   * `isContinued`, after the text so far.
   */
  async write(fields, { isContinued = false } = {}) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    const json = { ...fields };
    if (isContinued) json.continue_from = this.state.end.state;
    else this.#reset(fields.prime ?? "");
    if (this.#blocks.length - this.#primed + fields.length <= REMEMBERED) json.probabilities = 5;
    const before = this.state.characters;
    Object.assign(this.state, { status: "writing", end: null, problem: null });
    this.#flush();
    try {
      await this.#read(json, controller.signal);
      const { end } = this.state;
      if (!COMPLETE.includes(end.finish_reason))
        throw new Problem(0, ENDS[end.finish_reason] ?? "The text ends early, here.");
      // As the server measured it: text reaches the page in bursts.
      this.state.seconds = end.seconds;
      this.state.rate = (this.state.characters - before) / end.seconds;
    } catch (error) {
      if (controller.signal.aborted || wasAborted(error)) return;
      this.state.problem = error;
    }
    this.#finish();
  }

  stop() {
    if (!this.#controller) return;
    this.#controller.abort();
    this.#finish();
  }

  async #read(json, signal) {
    const began = performance.now();
    for await (const piece of written(json, signal)) {
      signal.throwIfAborted();
      if (piece.end) this.state.end = piece.end;
      else this.#receive(piece);
      this.state.seconds = (performance.now() - began) / 1000;
    }
  }

  #receive({ text, json, length }) {
    if (json) this.#pieces.add(this.#blocks.length + this.#waiting.length, json);
    this.state.characters += length;
    this.#waiting += text;
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #finish() {
    this.#controller = null;
    this.state.status = "done";
    this.#flush();
  }

  /** Shows what was received since the last frame. */
  #flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.root.classList.toggle("writing", this.state.status === "writing");
    this.#blocks.append(this.#waiting);
    this.#waiting = "";
    this.#changed();
  }

  #reset(prime) {
    this.#choose(null);
    this.#blocks.clear();
    this.#blocks.append(prime, "prime");
    this.#primed = prime.length;
    this.#pieces = new Pieces();
    this.#waiting = "";
    Object.assign(this.state, { characters: 0, seconds: 0, end: null, problem: null });
  }

  // Asking about a character

  #choose(position) {
    this.#chosen = position;
    if (position === null) return this.#alternatives.close();
    const details = this.#pieces.at(position);
    const char = details?.char ?? this.#blocks.charAt(position);
    const { top, bottom } = this.#blocks.rangeOf(position).getBoundingClientRect();
    this.#alternatives.open(char, details, position < this.#primed);
    if (top < OUT_OF_SIGHT || bottom > innerHeight - OUT_OF_SIGHT)
      scrollBy({ top: top - innerHeight / 2 });
    this.#place();
    this.#heard.textContent = spokenOf(char, details);
  }

  #place() {
    const box = this.#chosen !== null && this.#blocks.boxOf(this.#chosen);
    if (box) this.#alternatives.place(box, this.#blocks.body.getBoundingClientRect());
  }

  #take(index) {
    const other = this.#pieces.at(this.#chosen)?.top[index]?.[0];
    if (other === undefined) return;
    const kept = this.text.slice(0, this.#chosen);
    this.#choose(null);
    this.#text.focus({ preventScroll: true });
    this.#branch(kept + other);
  }

  // Pointing and typing

  #clicked(event) {
    if (!getSelection().isCollapsed) return;
    this.#choose(this.#blocks.positionAt(event.clientX, event.clientY));
  }

  #pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.#blocks.length) return;
    if (this.#chosen !== null && /^[1-9]$/.test(event.key)) {
      this.#take(Number(event.key) - 1);
      return;
    }
    const target = this.#targetOf(event.key);
    const isEntered = event.key === "Enter" && this.#chosen !== null;
    if (target === null && !isEntered) return;
    event.preventDefault();
    if (isEntered) this.#alternatives.focus();
    else this.#choose(Math.min(this.#last, Math.max(0, target)));
  }

  /** The position that a key moves to; null if it does not move. */
  #targetOf(key) {
    const at = this.#chosen;
    if (key === "ArrowRight") return at === null ? this.#primed : after(this.text, at);
    if (key === "ArrowLeft") return at === null ? this.#last : before(this.text, at);
    if (at === null) return null;
    if (key === "Home") return 0;
    if (key === "End") return this.#last;
    if (key === "ArrowDown") return this.#lineFrom(at, 1);
    if (key === "ArrowUp") return this.#lineFrom(at, -1);
    return null;
  }

  get #last() {
    return before(this.text, this.#blocks.length);
  }

  /** The character a line below or above; where there is no line, the next or the previous one. */
  #lineFrom(at, direction) {
    const box = this.#blocks.boxOf(at);
    const lineHeight = Number.parseFloat(getComputedStyle(this.#text).lineHeight);
    const y = (box.top + box.bottom) / 2 + direction * lineHeight;
    const next = direction > 0 ? after : before;
    return this.#blocks.positionAt(box.left + 2, y) ?? next(this.text, at);
  }

  #left(event) {
    if (!this.#alternatives.root.contains(event.relatedTarget)) this.#choose(null);
  }

  /** Copies the selection as it was written: a browser adds a line end for each block. */
  #copied(event) {
    const selected = this.#blocks.between(getSelection().getRangeAt(0));
    if (selected === null) return;
    event.clipboardData.setData("text/plain", selected);
    event.preventDefault();
  }
}
