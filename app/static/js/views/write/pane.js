// One side of Write: a sheet that shows a variant, under its name where there are two, and the
// scores of its tunes, which stand elsewhere.

import { t } from "../../language.js";
import { Sheet } from "../../parts/sheet.js";
import { el } from "../../ui.js";
import { Scores } from "./scores.js";
import { CodeColours } from "./code/colours.js";
import { labelOf } from "./labels.js";
import { textOf } from "./variant.js";

export class Pane {
  variant = null;
  #colours;
  #name = el("span", { class: "name" });
  #temperature = el("span", { class: "value" });
  #title;

  /**
   * @param {{label: string, textLabel: string, tunesLabel: string}} words
   * @param {object} handlers those of a sheet, and `entered()`, `closed()`
   */
  constructor({ label, textLabel, tunesLabel }, handlers) {
    this.sheet = new Sheet(textLabel, handlers);
    this.#colours = new CodeColours(this.sheet);
    this.scores = new Scores(tunesLabel, () => handlers.flushed());
    const close = el(
      "button",
      { type: "button", class: "quiet close", "aria-label": t("Close: {label}", { label }) },
      "×",
    );
    close.addEventListener("click", () => handlers.closed());
    this.#title = el(
      "div",
      { class: "pane-title", hidden: true },
      el("h2", {}, this.#name),
      this.#temperature,
      close,
    );
    this.root = el("section", { class: "pane", "aria-label": label }, this.#title, this.sheet.root);
    for (const occasion of ["focusin", "pointerdown"])
      this.root.addEventListener(occasion, () => handlers.entered());
  }

  get isShown() {
    return this.variant !== null;
  }

  /** Shows a variant, of which `details` are known; null hides the pane. */
  show(variant, details) {
    this.variant = variant;
    this.root.hidden = variant === null;
    this.scores.clear();
    this.#colours.clear();
    this.sheet.show(variant?.pieces ?? [], details);
    this.name();
  }

  /** Shows what the variant is called. */
  name() {
    if (!this.variant) return;
    const { before, changed, after } = labelOf(this.variant);
    this.#name.textContent = `${before}${changed}${after}`;
    this.#temperature.textContent = `${this.variant.temperature}`;
  }

  /** @param {boolean} isTitled @param {boolean} isActive whether actions are about this one */
  title(isTitled, isActive) {
    this.#title.hidden = !isTitled;
    this.root.classList.toggle("active", isTitled && isActive);
  }

  follow(status) {
    this.sheet.isWriting = status.isWriting;
    this.scores.follow(status.isWriting, this.sheet);
    if (!status.isWriting) void this.#colours.show();
  }

  get text() {
    return this.variant ? textOf(this.variant) : "";
  }
}
