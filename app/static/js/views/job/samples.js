// The samples of a job, sorted by step. Knows no job and no request.

import { el, number } from "../../ui.js";

export class Samples {
  #list = el("ol", { class: "samples" });
  #hint = el("p", { class: "soft" });

  constructor() {
    this.root = el(
      "section",
      { class: "written", "aria-labelledby": "samples-title" },
      el("h2", { id: "samples-title" }, "Samples"),
      this.#hint,
      this.#list,
    );
  }

  /** Shows a text as long as there are no samples. */
  showHint(text) {
    this.#hint.textContent = text;
    this.#hint.hidden = this.#list.children.length > 0;
  }

  clear() {
    this.#list.replaceChildren();
  }

  /** Shows a sample; it replaces one of the same step. */
  show({ step, temperature, style, text }) {
    const warmth = temperature === 1 ? null : `temperature ${temperature}`;
    const unusual = [style, warmth].filter(Boolean).join(", ");
    const item = el(
      "li",
      { data: { step } },
      el("h3", {}, `Step ${number(step)}`, unusual && el("span", { class: "soft" }, ` ${unusual}`)),
      el("p", { class: "sample" }, text),
    );
    const shown = [...this.#list.children];
    const next = shown.find((other) => Number(other.dataset.step) >= step) ?? null;
    if (next?.dataset.step === String(step)) next.replaceWith(item);
    else this.#list.insertBefore(item, next);
  }
}
