// The tunes of one text, one figure each; only one of all plays at a time. Knows no sheet.

import { counted } from "../../../language.js";
import { el, number } from "../../../ui.js";
import { abcjs } from "./library.js";
import { TuneFigure } from "./tune.js";

/** Tunes to show at first, and more at each click. */
const AT_ONCE = 8;

/** The figure that plays, of any text. */
let playing = null;

export class TuneList {
  #abcjs;
  #tunes = [];
  #figures = [];
  #limit = AT_ONCE;
  #place = el("div", { class: "tune-list" });
  #more = el("button", { type: "button", on: { click: () => this.#showMore() } });

  static async load() {
    return new TuneList(await abcjs());
  }

  constructor(abcjs) {
    this.#abcjs = abcjs;
    this.root = el("div", {}, this.#place, this.#more);
  }

  /** Shows these tunes; those that are there already stay as they are, playing or not. */
  show(tunes) {
    this.#tunes = tunes;
    const wanted = tunes.slice(0, this.#limit);
    let same = 0;
    while (same < wanted.length && isSame(this.#figures[same]?.tune, wanted[same])) same += 1;
    for (const { figure } of this.#figures.splice(same)) figure.remove();
    for (const tune of wanted.slice(same)) {
      const number = this.#figures.length + 1;
      const figure = new TuneFigure(this.#abcjs, tune, number, (one) => {
        if (playing !== one) playing?.pause();
        playing = one;
      });
      this.#figures.push({ tune, figure });
      this.#place.append(figure.root);
    }
    const rest = tunes.length - wanted.length;
    this.#more.hidden = !rest;
    const next = Math.min(rest, AT_ONCE);
    this.#more.textContent = counted(
      next,
      number(next),
      "Show {n} more tune",
      "Show {n} more tunes",
    );
  }

  pause() {
    for (const { figure } of this.#figures) figure.pause();
  }

  clear() {
    this.#limit = AT_ONCE;
    this.show([]);
  }

  #showMore() {
    const first = this.#figures.length;
    this.#limit += AT_ONCE;
    this.show(this.#tunes);
    // The button moves away from under a keyboard's focus, or is gone.
    this.#figures[first]?.figure.root.querySelector("button")?.focus();
  }
}

const isSame = (one, other) => one && one.source === other.source && one.isWhole === other.isWhole;
