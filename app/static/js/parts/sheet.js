// A sheet of text: appended once a frame while it is written, and every character can show how
// likely it was. Knows no controls, no URL and no server.

import { t } from "../language.js";
import { el } from "../ui.js";
import { Alternatives, spokenOf } from "./sheet/alternatives.js";
import { Blocks } from "./sheet/blocks.js";
import { Pieces } from "./sheet/pieces.js";
import { after, before, startOf } from "./sheet/units.js";

/** Pixels at the top and the bottom of the window where a character counts as out of sight. */
const OUT_OF_SIGHT = 90;
const GIVEN = t("This was given, not written.");
const ASKED = t("Asking the server …");
const UNKNOWN = t("The server could not be asked about it.");

export class Sheet {
  #handlers;
  #alternatives = new Alternatives((index) => this.#take(index));
  #blocks = new Blocks(this.#alternatives.mark);
  #details = new Pieces();
  #heard = el("p", { class: "heard", "aria-live": "polite" });
  #text;
  /** Where what was given ends. */
  #given = 0;
  #chosen = null;
  /** What is shown about the chosen character. */
  #told = null;
  #waiting = "";
  #frame = 0;

  /**
   * @param {string} label
   * @param {{branch, ask, flushed, touched}} handlers
   *   `branch(position, char, details)` gets a chosen alternative; `ask(position, unit)` resolves to
   *   the details of a unit of the text that were not told, or null; `flushed()` follows text that was
   *   shown, `touched()` a character that was chosen
   */
  constructor(label, handlers) {
    this.#handlers = handlers;
    this.#text = el(
      "div",
      {
        class: "text",
        tabindex: "0",
        role: "group",
        "aria-label": label,
        "aria-description": t(
          "Move between characters with the arrow keys; choose an alternative with 1 to 5",
        ),
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

  /** The text so far, what was given included. */
  get text() {
    return this.#blocks.text;
  }

  // Showing

  /** Shows a text in pieces, `{kind, text}`, of which `details` are known. */
  show(pieces, details) {
    this.#choose(null);
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#waiting = "";
    this.#details = details;
    this.#blocks.clear();
    this.#given = 0;
    for (const { kind, text } of pieces) {
      this.#blocks.append(text, kind === "given" || kind === "changed" ? kind : null);
      if (kind === "given") this.#given = this.#blocks.length;
    }
  }

  /** Appends what is being written, at the next frame. */
  append(text) {
    this.#waiting += text;
    this.#frame ||= requestAnimationFrame(() => this.flush());
  }

  /** Shows what was appended since the last frame. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#blocks.append(this.#waiting);
    this.#waiting = "";
    this.#handlers.flushed();
  }

  set isWriting(isWriting) {
    this.root.classList.toggle("writing", isWriting);
  }

  /** Tells those who listen. */
  announce(text) {
    this.#heard.textContent = text;
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  /** The range of the page between two positions, of which the second is behind the first. */
  range(start, end) {
    return this.#blocks.rangeBetween(start, end);
  }

  // Asking about a character

  #choose(position) {
    this.#chosen = position;
    this.#told = null;
    if (position === null) return this.#alternatives.close();
    const { top, bottom } = this.#blocks.rangeOf(position).getBoundingClientRect();
    if (top < OUT_OF_SIGHT || bottom > innerHeight - OUT_OF_SIGHT)
      scrollBy({ top: top - innerHeight / 2 });
    const char = this.#blocks.unitAt(position);
    const known = this.#details.unitAt(position, char);
    if (known) this.#tell(char, known);
    else if (position < this.#given) this.#tell(char, null, GIVEN);
    else void this.#ask(position, char);
    this.#handlers.touched();
  }

  async #ask(position, char) {
    this.#tell(char, null, ASKED);
    const details = await this.#handlers.ask(position, char).catch(() => null);
    if (this.#chosen === position && this.#alternatives.isOpen) this.#tell(char, details, UNKNOWN);
  }

  #tell(char, details, instead = "") {
    this.#told = details;
    this.#alternatives.open(char, details, instead);
    this.#place();
    this.announce(spokenOf(char, details, instead));
  }

  #place() {
    const box = this.#chosen !== null && this.#blocks.boxOf(this.#chosen);
    if (box) this.#alternatives.place(box, this.#blocks.body.getBoundingClientRect());
  }

  #take(index) {
    const other = this.#told?.top[index]?.[0];
    if (other === undefined) return;
    const [position, details] = [this.#chosen, this.#told];
    this.#choose(null);
    this.focus();
    this.#handlers.branch(position, other, details);
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
    if (key === "ArrowRight")
      return at === null ? startOf(this.text, this.#given) : after(this.text, at);
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
