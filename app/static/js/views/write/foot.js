// What stands below a text: its length, and what can be done with it.

import { counted, t } from "../../language.js";
import { copy, el, message, number } from "../../ui.js";
import { DEFAULTS, toHash } from "./link.js";
import { linkOf } from "./variant.js";

const COPIES = { left: t("Copy the left text"), right: t("Copy the right text") };

export class Foot {
  #facts = el("p", { class: "facts" });
  #said = message();
  #actions;
  #copyText;
  #label = "";

  /**
   * @param {{proceed, again, edit, score, text, link}} handlers
   *   `text()` and `link()` return what to copy: a text, and `{hash, says}`
   */
  constructor({ proceed, again, edit, score, text, link }) {
    this.#copyText = quiet(t("Copy"), () => copy(text(), this.#copyText));
    const copyLink = quiet(t("Copy link"), async () => {
      const { hash, says } = link();
      if (hash) await copy(`${location.href.split("#")[0]}${hash}`, copyLink);
      this.#said.say(says);
    });
    this.#actions = {
      proceed: quiet(t("Continue"), proceed),
      again: quiet(t("Another"), again),
      edit: quiet(t("Edit"), edit),
      score: quiet(t("Score"), score),
    };
    this.#actions.again.title = t("Write on from the same beginning, with another seed");
    const actions = [...Object.values(this.#actions), this.#copyText, copyLink];
    this.root = el(
      "div",
      { class: "foot", hidden: true },
      this.#facts,
      el("div", { class: "actions" }, ...actions),
      this.#said.place,
    );
  }

  /**
   * Shows facts, and what can be done now.
   *
   * @param {?string} side which of two texts it is about
   */
  draw({ facts, isWriting, side, hasScore }) {
    this.root.hidden = false;
    const line = factsOf(facts);
    if (this.#facts.textContent !== line) this.#facts.textContent = line;
    const { proceed, again, edit, score } = this.#actions;
    for (const button of [proceed, again, edit]) button.hidden = isWriting;
    score.hidden = !hasScore;
    const label = side ? COPIES[side] : t("Copy");
    if (this.#label !== label) this.#copyText.textContent = label;
    this.#label = label;
  }

  hide() {
    this.root.hidden = true;
  }

  clear() {
    this.#said.clear();
  }
}

/**
 * The fragment of a link to a variant, null if none can hold it, and in words what it holds.
 *
 * @param {?Variant} other what is shown beside it
 * @param {number} missing characters that are still to be written
 */
export function linkTo(variant, other, missing = 0) {
  const settings = linkOf(variant);
  if (!settings) return { hash: null, says: NO_LINK };
  const isPair = other !== null && isPairOf(variant, other);
  const compare = isPair ? other.temperature : null;
  const length = variant.own + missing || DEFAULTS.length;
  const says = isPair ? BOTH : variant.own ? (other ? ONE : WHOLE) : BEGINNING;
  return { hash: toHash({ ...settings, length, compare }), says };
}

const NO_LINK = t(
  "No link can hold this text: its beginning is too long, or its state had expired. Save it instead.",
);
const BOTH = t("The link holds both texts, until the model is trained further.");
const ONE = t("The link holds the text on this side only, until the model is trained further.");
const WHOLE = t("The link holds this whole text, until the model is trained further.");
const BEGINNING = t("The link holds this text as a beginning.");

/** Whether two variants are one text at two temperatures, which one link holds. */
export function isPairOf(left, right) {
  const [one, other] = [left, right].map(linkOf);
  if (!one || !other || !left.own || !right.own) return false;
  return ["model", "style", "prime", "seed"].every((name) => one[name] === other[name]);
}

/** The length of a text, its rate and its seed, in one line. */
export const factsOf = ({ characters, rate, seed }) =>
  [
    counted(characters, number(characters), "{n} character", "{n} characters"),
    rate && t("{rate} per second", { rate: number(rate) }),
    t("seed {seed}", { seed }),
  ]
    .filter(Boolean)
    .join(" · ");

const quiet = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);
