// The alternatives to one character of a text: a popover beside it and a mark behind it. Knows no
// text and no server.

import { LANGUAGE, t, woven } from "../../language.js";
import { el, glyph, loss, percent, spoken } from "../../ui.js";

const STEPS = { ArrowDown: 1, ArrowUp: -1 };
/** Pixels kept free at the edges of the window. */
const EDGE = 8;
/** Pixels between the character and the alternatives. */
const GAP = 10;

export class Alternatives {
  /** For the text's element, within which it marks a character. */
  mark = el("div", { class: "mark", hidden: true });
  root = el("div", {
    class: "alternatives",
    popover: "auto",
    role: "dialog",
    "aria-label": t("Alternatives"),
  });
  #take;

  /** @param {(index: number) => void} take gets the index of the chosen alternative */
  constructor(take) {
    this.#take = take;
    this.root.addEventListener("toggle", (event) => {
      if (event.newState === "closed") this.mark.hidden = true;
    });
    this.root.addEventListener("keydown", (event) => this.#pressed(event));
  }

  get isOpen() {
    return this.root.isConnected && this.root.matches(":popover-open");
  }

  /**
   * Shows how likely a character was, and its alternatives. `place` positions them.
   *
   * @param {?object} details what the server reported about it
   * @param {string} instead what to say where nothing is known
   */
  open(char, details, instead) {
    this.root.replaceChildren(head(char, details, instead));
    if (details) {
      const rows = details.top.map((_, i) => this.#row(details, i));
      const hint = t("Choose one to continue from here.");
      this.root.append(el("ol", {}, ...rows), el("p", { class: "hint" }, hint));
    }
    if (!this.isOpen) this.root.showPopover();
    this.mark.hidden = false;
  }

  close() {
    if (this.isOpen) this.root.hidePopover();
    this.mark.hidden = true;
  }

  /** Moves the popover beside a box, and the mark, whose parent's box is `origin`, behind it. */
  place(box, origin) {
    Object.assign(this.mark.style, {
      left: `${box.left - origin.left - 2}px`,
      top: `${box.top - origin.top}px`,
      width: `${box.width + 4}px`,
      height: `${box.height}px`,
    });
    const { offsetWidth: width, offsetHeight: height } = this.root;
    const furthest = document.body.clientWidth - width - EDGE;
    const left = Math.max(EDGE, Math.min(box.left - 28, furthest));
    const below = box.bottom + GAP;
    const isRoomBelow = below + height < innerHeight - EDGE;
    const top = isRoomBelow ? below : Math.max(EDGE, box.top - height - GAP);
    Object.assign(this.root.style, { left: `${left}px`, top: `${top}px` });
  }

  focus() {
    this.root.querySelector("button")?.focus();
  }

  #row({ char, top }, i) {
    const [other, probability] = top[i];
    const isWritten = char.startsWith(other);
    const bar = el("span", { class: "bar" });
    bar.style.setProperty("--share", probability);
    const said = { char: spoken(other), percent: percent(probability) };
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: isWritten ? "written" : null,
          "aria-label": isWritten
            ? t("{char}, {percent}, written: continue from here", said)
            : t("{char}, {percent}: continue from here", said),
          on: { click: () => this.#take(i) },
        },
        el("kbd", {}, String(i + 1)),
        el("span", { class: "char" }, glyph(other)),
        bar,
        el("span", { class: "share" }, percent(probability)),
      ),
    );
  }

  #pressed(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.root.querySelectorAll("button")];
    const next = buttons.indexOf(document.activeElement) + step;
    buttons[(next + buttons.length) % buttons.length]?.focus();
  }
}

const and = new Intl.ListFormat(LANGUAGE, { style: "narrow" });

/** What a screen reader says about a character and its alternatives. */
export function spokenOf(char, details, instead) {
  if (!details) return t("{char}, {said}", { char: spoken(char), said: instead });
  const others = details.top.map(
    ([other, share], i) => `${i + 1}: ${spoken(other)} ${percent(share)}`,
  );
  return t("{char}, {percent}; {others}", {
    char: spoken(char),
    percent: percent(details.probability),
    others: and.format(others),
  });
}

function head(char, details, instead) {
  const symbol = el("span", { class: "char" }, glyph(char));
  return el("p", { class: "head" }, symbol, details ? likelihood(details) : instead);
}

function likelihood({ probability }) {
  if (probability === null) return t("Hardly likely: none of the likeliest twenty.");
  const share = el("strong", {}, percent(probability));
  const nats = loss(-Math.log(probability));
  return el("span", {}, ...woven("{percent} likely, {nats} nats", { percent: share, nats }));
}
