// What Write shows: a variant, or two side by side, and what stands below them. Knows which side
// actions are about; no form, no URL and no server.

import { t } from "../../language.js";
import { el } from "../../ui.js";
import { Comparison } from "./comparison.js";
import { Foot, isPairOf, linkTo } from "./foot.js";
import { Hints } from "./hints.js";
import { Pane } from "./pane.js";
import { textOf, writtenIn } from "./variant.js";

const LABELS = [
  { label: t("Text"), textLabel: t("The text"), tunesLabel: t("Tunes of the text") },
  {
    label: t("The other text"),
    textLabel: t("The other text"),
    tunesLabel: t("Tunes of the other text"),
  },
];

export class Stage {
  active = 0;
  hints = new Hints();
  #studio;
  #panes;
  #comparison;
  #foot;
  /** The variant that was shown before the last one. */
  #previous = null;

  /**
   * @param {Studio} studio
   * @param {{branch, ask, entered, closed, proceed, again, edit}} handlers
   *   `branch(side, position, char, details)`, `ask(variant, position, char)`, `entered()` follows
   *   another active side, `closed(side)` the wish to close one; the others are actions
   */
  constructor(studio, handlers) {
    this.#studio = studio;
    this.#panes = LABELS.map((words, side) => new Pane(words, this.#ofPane(side, handlers)));
    this.#panes[1].root.hidden = true;
    this.#comparison = new Comparison(this.#panes, (side) => {
      if (side === this.active || !this.#panes[side]?.isShown) return;
      this.active = side;
      handlers.entered();
    });
    this.#foot = new Foot({
      ...handlers,
      score: () => this.#panes[this.active].scores.root.focus(),
      text: () => textOf(this.variant),
      link: () => linkTo(this.variant, this.variants[1 - this.active] ?? null),
    });
    // In sight as long as the text is.
    this.#foot.root.prepend(this.hints.root);
    this.root = el(
      "div",
      { class: "page" },
      this.#comparison.root,
      this.#foot.root,
      el("div", { class: "panes below" }, ...this.#panes.map(({ scores }) => scores.root)),
    );
  }

  #ofPane(side, handlers) {
    return {
      branch: (...change) => handlers.branch(side, ...change),
      ask: (position, char) => handlers.ask(this.#panes[side].variant, position, char),
      flushed: () => this.#drawFoot(),
      touched: () => this.hints.follow("touch"),
      entered: () => this.#comparison.enter(side),
      closed: () => handlers.closed(side),
    };
  }

  /** The variants that are shown, the left one first. */
  get variants() {
    return this.#panes.map(({ variant }) => variant).filter(Boolean);
  }

  /** The variant that actions are about; null if none is shown. */
  get variant() {
    return this.#panes[this.active].variant;
  }

  /** Whether the two are one text at two temperatures. */
  get isPair() {
    const { variants } = this;
    return variants.length > 1 && isPairOf(...variants);
  }

  on(side) {
    return this.#panes[side].variant;
  }

  /** Shows a variant on a side; null closes the side. */
  place(side, variant) {
    const pane = this.#panes[side];
    if (pane.variant !== variant) this.#previous = pane.variant ?? this.#previous;
    pane.show(variant, variant && this.#studio.detailsOf(variant));
    this.#foot.clear();
  }

  /** Shows one variant, or one on each side. */
  present([left = null, right = null]) {
    this.place(0, left);
    this.place(1, right);
    if (!right) this.active = 0;
  }

  /** The variant to compare another one with: that on the left, or the one before it. */
  partnerOf(variant) {
    const { tree } = this.#studio;
    const before = [this.#previous?.id, variant.parent].map((id) => tree.get(id));
    const others = [this.on(0), ...before, ...tree.all.toReversed()];
    return others.find((one) => one && one !== variant) ?? null;
  }

  wrote(variant, text) {
    for (const pane of this.#panes) if (pane.variant === variant) pane.sheet.append(text);
  }

  /** Shows all that was written, and tells those who listen. */
  ended(variant, said) {
    for (const pane of this.#panes) {
      if (pane.variant !== variant) continue;
      pane.sheet.flush();
      pane.sheet.announce(said);
    }
  }

  focus() {
    this.#panes[this.active].sheet.focus();
  }

  turnTo(side) {
    this.#comparison.turnTo(side);
  }

  pause() {
    for (const { scores } of this.#panes) scores.pause();
  }

  draw() {
    for (const pane of this.#panes) {
      pane.name();
      if (pane.variant) pane.follow(this.#studio.statusOf(pane.variant));
    }
    this.#comparison.draw(this.active);
    this.#drawFoot();
    if (this.variant && !this.#studio.isWriting) this.hints.show();
  }

  #drawFoot() {
    const pane = this.#panes[this.active];
    const { variant } = pane;
    if (!variant) return this.#foot.hide();
    const status = this.#studio.statusOf(variant);
    pane.follow(status);
    this.#foot.draw({
      facts: { characters: writtenIn(variant), rate: status.rate, seed: variant.seed },
      isWriting: this.#studio.isWriting,
      side: this.variants.length > 1 ? ["left", "right"][this.active] : null,
      hasScore: !pane.scores.root.hidden,
    });
  }
}
