// Two sides of Write: beside each other, or on a phone one behind the other, to swipe or to choose
// by its tab. What both texts begin with is faint.

import { t } from "../../language.js";
import { el, isNarrow, reducedMotion } from "../../ui.js";
import { partingOf } from "./variant.js";

const SHARED = "shared-beginning";

export class Comparison {
  #panes;
  #entered;
  #place;
  #tabs;
  #shared = globalThis.Highlight ? new Highlight() : null;

  /**
   * @param {Pane[]} panes two
   * @param {(side: number) => void} entered follows a side that comes to the front
   */
  constructor(panes, entered) {
    this.#panes = panes;
    this.#entered = entered;
    this.#tabs = [t("Left"), t("Right")].map((label, side) => {
      const click = () => this.turnTo(side);
      return el("button", { type: "button", class: "quiet", on: { click } }, label);
    });
    this.#place = el("div", { class: "panes" }, ...panes.map(({ root }) => root));
    this.#place.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const tabs = { class: "sides", role: "group", "aria-label": t("Sides") };
    this.root = el("div", { class: "comparison" }, el("div", tabs, ...this.#tabs), this.#place);
    if (!this.#shared) return;
    // Above the colours of code.
    this.#shared.priority = 1;
    CSS.highlights.set(SHARED, this.#shared);
  }

  /** A side is what actions are about from now on. */
  enter(side) {
    this.#entered(side);
  }

  /** Brings a side to the front, where only one fits. */
  turnTo(side) {
    this.#entered(side);
    if (!isNarrow()) return;
    const left = side * this.#place.clientWidth;
    this.#place.scrollTo({ left, behavior: reducedMotion() ? "auto" : "smooth" });
  }

  /** Shows which side actions are about, and how far both texts are the same. */
  draw(active) {
    const isTwo = this.#panes.every((pane) => pane.isShown);
    this.root.classList.toggle("comparing", isTwo);
    this.#panes.forEach((pane, side) => {
      pane.title(isTwo, side === active);
      this.#tabs[side].setAttribute("aria-pressed", String(side === active));
    });
    this.#shared?.clear();
    if (!isTwo) return;
    const at = partingOf(...this.#panes.map(({ sheet }) => sheet.text));
    for (const { sheet } of this.#panes) {
      if (at) this.#shared?.add(sheet.range(0, at));
    }
  }

  #scrolled() {
    const { scrollLeft, clientWidth } = this.#place;
    if (clientWidth) this.#entered(Math.round(scrollLeft / clientWidth));
  }
}
