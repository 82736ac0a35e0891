// A text to type into, in place of its sheet: Tab offers three continuations of what stands before
// the caret. What comes of it is a variant of its own. Knows no tree.

import { wasAborted } from "../../api.js";
import { t } from "../../language.js";
import { el, stylesheet, told } from "../../ui.js";
import { continuationsAt } from "./asking.js";
import { edited } from "./edits.js";
import { textOf } from "./variant.js";

await stylesheet("editor.css");

const OFFERED = 3;
/** Characters of a continuation: about half a line. */
const LENGTH = 40;
const MOVES = { ArrowDown: 1, ArrowUp: -1 };
/** Whether fingers point, and keys like Tab are missing. */
const isTouched = matchMedia("(pointer: coarse)").matches;
const HOW = isTouched
  ? t("“Continue …” offers three continuations.")
  : t("Tab offers three continuations; Escape, then Tab leaves the text.");
const CHOICE = isTouched
  ? t("Touch one to take it.")
  : t("Up and Down choose, Enter or Tab takes one, Escape closes.");

export class Editor {
  #variant;
  #area;
  #offers = [];
  #chosen = 0;
  /** After Escape the next Tab leaves, as it does elsewhere. */
  #isLeaving = false;
  #asked = 0;
  #resolve = null;
  #list = el("ol", {
    class: "offers",
    role: "listbox",
    id: "offers",
    "aria-label": t("Continuations"),
  });
  #hint = el("p", { class: "hint", id: "editor-hint", role: "status" }, HOW);
  #root;

  constructor(variant) {
    this.#variant = variant;
    this.#area = el("textarea", {
      class: "editor-text",
      "aria-label": t("The text, to edit"),
      "aria-describedby": "editor-hint",
      "aria-controls": "offers",
      spellcheck: "false",
      value: textOf(variant),
      on: {
        keydown: (event) => this.#pressed(event),
        input: () => this.#offer([]),
      },
    });
    this.#list.addEventListener("pointerdown", (event) => this.#pointed(event));
    const offer = button(t("Continue …"), "quiet", () => void this.#ask());
    // The caret stays where it is.
    offer.addEventListener("pointerdown", (event) => event.preventDefault());
    const actions = el(
      "div",
      { class: "actions" },
      offer,
      button(t("Cancel"), "quiet", () => this.#close(null)),
      button(t("Keep as a variant"), "primary", () => this.#close(this.#area.value)),
    );
    this.#root = el(
      "div",
      { class: "editor" },
      this.#area,
      el(
        "div",
        { class: "editor-bottom" },
        this.#list,
        el("div", { class: "editor-foot" }, this.#hint, actions),
      ),
    );
  }

  /** Opens in place of what a page shows; resolves to the text, or to null if it is dropped. */
  open(page) {
    page.classList.add("editing");
    page.prepend(this.#root);
    this.#area.focus({ preventScroll: true });
    const end = this.#area.value.length;
    this.#area.setSelectionRange(end, end);
    return new Promise((resolve) => {
      this.#resolve = (text) => {
        page.classList.remove("editing");
        this.#root.remove();
        resolve(text);
      };
    });
  }

  #close(text) {
    this.#asked += 1;
    this.#resolve(text);
  }

  // Offers

  async #ask() {
    const { value, selectionStart: at } = this.#area;
    const draft = edited(this.#variant, value, this.#variant.seed) ?? this.#variant;
    this.#asked += 1;
    const asked = this.#asked;
    this.#hint.textContent = t("Asking the model …");
    try {
      const offers = await continuationsAt(draft, at, { count: OFFERED, length: LENGTH });
      const isStill = this.#area.value === value && this.#area.selectionStart === at;
      if (asked === this.#asked && isStill) this.#offer(offers);
    } catch (error) {
      if (asked === this.#asked && !wasAborted(error))
        this.#hint.replaceChildren(...told(error.message));
    }
  }

  #offer(offers) {
    this.#asked += 1;
    this.#offers = offers;
    this.#chosen = 0;
    this.#hint.textContent = offers.length ? CHOICE : HOW;
    this.#draw();
  }

  #draw() {
    this.#list.replaceChildren(
      ...this.#offers.map((text, i) =>
        el(
          "li",
          { role: "option", id: `offer-${i}`, "aria-selected": String(i === this.#chosen) },
          text.replaceAll("\n", " ⏎ "),
        ),
      ),
    );
    if (this.#offers.length)
      this.#area.setAttribute("aria-activedescendant", `offer-${this.#chosen}`);
    else this.#area.removeAttribute("aria-activedescendant");
    this.#list.hidden = !this.#offers.length;
  }

  #take(index) {
    const text = this.#offers[index];
    const { selectionStart, selectionEnd } = this.#area;
    this.#area.focus();
    // As if it was typed, so that the browser can undo it; where it refuses, without that.
    if (!document.execCommand("insertText", false, text))
      this.#area.setRangeText(text, selectionStart, selectionEnd, "end");
    this.#offer([]);
  }

  #pointed(event) {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    event.preventDefault();
    this.#take([...this.#list.children].indexOf(option));
  }

  #pressed(event) {
    const { key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    const isOpen = this.#offers.length > 0;
    const isTab = key === "Tab" && !event.shiftKey;
    if (isOpen && (key === "Enter" || isTab)) this.#take(this.#chosen);
    else if (isOpen && key === "Escape") this.#offer([]);
    else if (isOpen && MOVES[key]) {
      const count = this.#offers.length;
      this.#chosen = (this.#chosen + MOVES[key] + count) % count;
      this.#draw();
    } else if (isTab && !this.#isLeaving) void this.#ask();
    else {
      this.#isLeaving = key === "Escape";
      return;
    }
    this.#isLeaving = false;
    event.preventDefault();
  }
}

const button = (label, kind, click) =>
  el("button", { type: "button", class: kind, on: { click } }, label);
