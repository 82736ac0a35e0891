// Three quiet hints for whoever is new, one at a time. Each goes away once it was followed or closed.

import { t, woven } from "../../language.js";
import { el } from "../../ui.js";
import { remember, remembered } from "./keeping.js";

const HINTS = [
  [
    "touch",
    () => [t("Touch a character to see how likely it was, and what else might have come.")],
  ],
  ["temperature", () => [t("Raise the temperature: the text becomes bolder, then wild.")]],
  ["train", () => woven("{train}.", { train: trainLink() })],
];

const trainLink = () => el("a", { href: "/train" }, t("Train a model on a text of yours"));

export class Hints {
  #gone = new Set([remembered("hints") ?? []].flat());
  #text = el("p");
  root = el(
    "div",
    { class: "hint-line", hidden: true },
    this.#text,
    el(
      "button",
      {
        type: "button",
        class: "quiet close",
        "aria-label": t("Close this hint"),
        on: { click: () => this.follow(this.root.dataset.hint) },
      },
      "×",
    ),
  );

  constructor() {
    this.#text.addEventListener(
      "click",
      ({ target }) => target.closest("a") && this.follow("train"),
    );
  }

  /** Shows the next hint, if one is left. */
  show() {
    const next = HINTS.find(([name]) => !this.#gone.has(name));
    this.root.hidden = !next;
    if (!next || this.root.dataset.hint === next[0]) return;
    this.root.dataset.hint = next[0];
    this.#text.replaceChildren(...next[1]());
  }

  /** A hint was followed: it does not come again. */
  follow(name) {
    if (this.#gone.has(name)) return;
    this.#gone.add(name);
    remember("hints", [...this.#gone]);
    if (!this.root.hidden) this.show();
  }
}
