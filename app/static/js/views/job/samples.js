// What a network wrote at some of its steps while it learned, in the order of the steps. Knows no
// job and no request.

import { el, number } from "../../ui.js";

export class Samples {
  #list = el("ol", { class: "samples" });
  #hint = el("p", { class: "soft" });

  constructor() {
    this.root = el(
      "section",
      { class: "written", "aria-labelledby": "samples-title" },
      el("h2", { id: "samples-title" }, "What it writes meanwhile"),
      this.#hint,
      this.#list,
    );
  }

  /** What stands there while there is no sample. */
  showHint(text) {
    this.#hint.textContent = text;
    this.#hint.hidden = this.#list.children.length > 0;
  }

  clear() {
    this.#list.replaceChildren();
  }

  /** Shows a sample, in place of the one of the same step if there is one. */
  show({ step, temperature, text }) {
    const unusual = temperature === 1 ? null : ` temperature ${temperature}`;
    const item = el(
      "li",
      { data: { step } },
      el("h3", {}, `Step ${number(step)}`, unusual && el("span", { class: "soft" }, unusual)),
      el("p", { class: "sample" }, text),
    );
    const shown = [...this.#list.children];
    const next = shown.find((other) => Number(other.dataset.step) >= step) ?? null;
    if (next?.dataset.step === String(step)) next.replaceWith(item);
    else this.#list.insertBefore(item, next);
  }
}
