// The samples of a job: the newest, or any other, as a film, and all of them in a list. Knows no job
// and no request.

import { counted, t } from "../../language.js";
import { Film, titleOf } from "../../parts/film.js";
import { el, number } from "../../ui.js";

export class Samples {
  #film;
  #shown = [];
  #hint = el("p", { class: "soft" });
  #summary = el("summary", {});
  #list = el("ol", { class: "samples" });
  #all = el("details", { class: "all-samples", hidden: true }, this.#summary, this.#list);

  /** @param {(step: number | null) => void} shown gets the step of the sample that is shown */
  constructor(shown) {
    this.#film = new Film(shown);
    this.controls = this.#film.controls;
    this.root = el(
      "section",
      { class: "written", "aria-labelledby": "samples-title" },
      el("h2", { id: "samples-title" }, t("Samples")),
      this.#hint,
      this.#film.stage,
      this.#all,
    );
    this.#all.addEventListener("toggle", () => this.#drawList());
  }

  /** Shows samples, sorted by step; as long as there are none, a hint. */
  update(samples, hint) {
    this.#hint.textContent = hint;
    this.#hint.hidden = samples.length > 0;
    this.#film.update(samples);
    this.#all.hidden = samples.length < 2;
    const many = samples.length;
    this.#summary.textContent = counted(many, number(many), "All {n} sample", "All {n} samples");
    this.#shown = samples;
    this.#drawList();
  }

  seek(step) {
    this.#film.seek(step);
  }

  stop() {
    this.#film.stop();
  }

  /** The newest first; those that are there already stay, with what is selected in them. */
  #drawList() {
    if (!this.#all.open) return;
    const items = new Map([...this.#list.children].map((item) => [item.sample, item]));
    const wanted = this.#shown.map((sample) => items.get(sample) ?? itemOf(sample)).reverse();
    const isSame = wanted.every((item, i) => item === this.#list.children[i]);
    if (!isSame || wanted.length !== this.#list.children.length)
      this.#list.replaceChildren(...wanted);
  }
}

function itemOf(sample) {
  const text = el("p", { class: "sample" }, sample.text);
  return Object.assign(el("li", {}, el("h3", {}, ...titleOf(sample)), text), { sample });
}
