// The tree of variants as a list to move in, and what can be done with them. Knows no sheet and no
// server.

import { counted, t } from "../../language.js";
import { ask, el, field, foldedOnPhones, hundredths, number, save, stylesheet } from "../../ui.js";
import { MOST_VARIANTS } from "./keeping.js";
import { variantsIn } from "./files.js";
import { fileName, labelOf } from "./labels.js";
import { textOf, writtenIn } from "./variant.js";

await stylesheet("variants.css");

const UNSAFE = t(
  "This browser keeps nothing for this page: save the variants before you close it.",
);
const FULL = t(
  "This browser keeps up to {n} variants, and its room for them is used up. Newer ones are gone when you close the page: remove some, or save the variants.",
  { n: number(MOST_VARIANTS) },
);
const FIRST = t(
  "Every text that you write stays here. Choose another character, and the old text stays, too.",
);

export class Branches {
  #studio;
  #handlers;
  #folded = new Set();
  #rows = [];
  /** The id of the row that Tab comes to. */
  #at = null;
  #shown = { ids: [], active: null };
  #list = el("ul", {
    class: "tree",
    role: "tree",
    "aria-label": t("Variants"),
    "aria-description": t(
      "Enter shows a variant, C compares it, F2 renames it, Delete removes it, Control Z undoes",
    ),
    on: {
      keydown: (event) => this.#pressed(event),
      click: (event) => this.#clicked(event),
      dblclick: () => void this.#rename(),
    },
  });
  #first = el("p", { class: "hint" }, FIRST);
  #note = el("p", { class: "message note", role: "status", hidden: true });
  #title = el("summary", {}, t("Variants"));
  #undo = quiet(t("Undo"), () => this.#handlers.undo());
  #compare = quiet(t("Compare"), () => this.#handlers.compared(this.current));
  #ofOne = [
    this.#compare,
    quiet(t("Rename"), () => void this.#rename()),
    quiet(t("Remove"), () => this.#remove()),
  ];
  #file = el("input", { type: "file", accept: ".json,application/json", hidden: true });

  /**
   * @param {Element} root where it stands
   * @param {Studio} studio
   * @param {{shown, compared, undo, redo}} handlers
   *   `shown(variant)` and `compared(variant)` get the one chosen, `undo()` and `redo()` nothing
   */
  constructor(root, studio, handlers) {
    this.#studio = studio;
    this.#handlers = handlers;
    this.#file.addEventListener("change", () => void this.#opened());
    const details = el(
      "details",
      { class: "branches" },
      this.#title,
      this.#first,
      this.#list,
      el("div", { class: "actions" }, ...this.#ofOne, this.#undo),
      el(
        "div",
        { class: "actions files" },
        quiet(t("Save text"), () => this.#saveText()),
        quiet(t("Save all"), () => this.#saveAll()),
        quiet(t("Open"), () => this.#file.click()),
        this.#file,
      ),
      this.#note,
    );
    foldedOnPhones(details);
    root.replaceChildren(details);
  }

  get #tree() {
    return this.#studio.tree;
  }

  /** The variant that actions are about. */
  get current() {
    return this.#tree.get(this.#at);
  }

  /** @param {string[]} ids of what the sides show @param {string} active the one actions are about */
  show(ids, active) {
    const isMoved = active !== this.#shown.active;
    this.#shown = { ids, active };
    if (isMoved && active) {
      this.#at = active;
      this.#unfold(active);
    }
    this.draw();
    if (isMoved) this.#item(active)?.scrollIntoView({ block: "nearest" });
  }

  draw() {
    const isFocused = this.#list.contains(document.activeElement);
    this.#rows = this.#tree.rows(this.#folded);
    if (!this.#rows.some(({ variant }) => variant.id === this.#at))
      this.#at = this.#shown.active ?? this.#rows[0]?.variant.id ?? null;
    this.#list.replaceChildren(...this.#rows.map((row) => this.#drawn(row)));
    if (isFocused) this.#item(this.#at)?.focus();
    const { size, canUndo } = this.#tree;
    this.#title.textContent = size ? t("Variants ({n})", { n: number(size) }) : t("Variants");
    this.#first.hidden = size > 1;
    this.#undo.disabled = !canUndo;
    for (const button of this.#ofOne) button.disabled = !this.current;
    this.#compare.disabled = size < 2;
    const { isSafe, isFull } = this.#studio.keeping;
    this.#note.textContent = isSafe ? FULL : UNSAFE;
    this.#note.hidden = isSafe && !isFull;
  }

  #drawn({ variant, level, place, siblings, branches }) {
    const { before, changed, after } = labelOf(variant);
    const side = this.#shown.ids.indexOf(variant.id);
    const isOneModel = this.#rows.every((row) => row.variant.model === variant.model);
    const about = aboutOf(variant, this.#tree.get(variant.parent), isOneModel);
    const isCompared = this.#shown.ids.length > 1 && side >= 0;
    const item = el(
      "li",
      {
        role: "treeitem",
        tabindex: variant.id === this.#at ? "0" : "-1",
        "aria-level": level,
        "aria-posinset": place,
        "aria-setsize": siblings,
        "aria-selected": String(side >= 0),
        "aria-expanded": branches ? String(!this.#folded.has(variant.id)) : null,
        data: { id: variant.id },
      },
      el("span", { class: "twig", "aria-hidden": "true" }),
      el(
        "span",
        { class: "label-of" },
        before,
        changed ? el("mark", {}, changed) : null,
        el("span", { class: "soft" }, after),
      ),
      el("span", { class: "about" }, about),
      isCompared ? el("span", { class: "side-name" }, side ? t("right") : t("left")) : null,
    );
    item.style.setProperty("--level", Math.min(level, 8) - 1);
    return item;
  }

  #item(id) {
    return this.#list.querySelector(`[data-id="${CSS.escape(id ?? "")}"]`);
  }

  #unfold(id) {
    for (let one = this.#tree.get(id); one; one = this.#tree.get(one.parent))
      this.#folded.delete(one.parent);
  }

  // Moving

  #clicked(event) {
    const item = event.target.closest("[data-id]");
    if (!item) return;
    this.#at = item.dataset.id;
    if (event.target.closest(".twig") && item.ariaExpanded) this.#fold(item.dataset.id);
    else this.#handlers.shown(this.current);
  }

  #fold(id, isFolded = !this.#folded.has(id)) {
    if (isFolded) this.#folded.add(id);
    else this.#folded.delete(id);
    this.draw();
  }

  #moveTo(index) {
    const row = this.#rows[Math.max(0, Math.min(this.#rows.length - 1, index))];
    if (!row) return;
    this.#at = row.variant.id;
    for (const item of this.#list.children) item.tabIndex = item.dataset.id === this.#at ? 0 : -1;
    this.#item(this.#at).focus();
  }

  #pressed(event) {
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = isCommand
      ? { z: event.shiftKey ? this.#handlers.redo : this.#handlers.undo, y: this.#handlers.redo }[
          key
        ]
      : !event.altKey && this.#actionOf(key);
    if (!action) return;
    event.preventDefault();
    action();
  }

  #actionOf(key) {
    const index = this.#rows.findIndex(({ variant }) => variant.id === this.#at);
    const row = this.#rows[index];
    if (!row) return null;
    const { id, parent } = row.variant;
    const isOpen = row.branches > 0 && !this.#folded.has(id);
    const parentAt = this.#rows.findIndex(({ variant }) => variant.id === parent);
    const actions = {
      ArrowDown: () => this.#moveTo(index + 1),
      ArrowUp: () => this.#moveTo(index - 1),
      Home: () => this.#moveTo(0),
      End: () => this.#moveTo(this.#rows.length - 1),
      ArrowRight: () => (isOpen ? this.#moveTo(index + 1) : this.#fold(id, false)),
      ArrowLeft: () => (isOpen ? this.#fold(id, true) : parentAt >= 0 && this.#moveTo(parentAt)),
      Enter: () => this.#handlers.shown(row.variant),
      " ": () => this.#handlers.shown(row.variant),
      c: () => this.#handlers.compared(row.variant),
      F2: () => void this.#rename(),
      Delete: () => this.#remove(),
      // Where a keyboard has no other key to delete.
      Backspace: () => this.#remove(),
    };
    return actions[key];
  }

  // Doing

  async #rename() {
    const variant = this.current;
    if (!variant) return;
    const input = el("input", { name: "name", maxlength: "200", value: variant.name });
    const given = await ask({
      title: t("Rename this variant"),
      text: t("Without a name it is shown by its text."),
      fields: [field(t("Name"), input)],
      confirm: t("Rename"),
    });
    if (given && this.#tree.has(variant.id)) this.#studio.rename(variant.id, given.name.trim());
    this.#item(variant.id)?.focus();
  }

  #remove() {
    const index = this.#rows.findIndex(({ variant }) => variant.id === this.#at);
    const removed = this.#rows[index]?.variant;
    if (!removed) return;
    const next = this.#rows[index + 1] ?? this.#rows[index - 1];
    this.#at = next?.variant.id ?? null;
    this.#studio.remove(removed.id);
  }

  #saveText() {
    const variant = this.current;
    if (variant) save(new Blob([textOf(variant)]), `${fileName(variant)}.txt`);
  }

  #saveAll() {
    save(new Blob([JSON.stringify(this.#tree, null, 1)]), "variants.json");
  }

  async #opened() {
    const [file] = this.#file.files;
    if (!file) return;
    const variants = variantsIn(await file.text(), this.#tree);
    this.#file.value = "";
    if (!variants?.length) {
      this.#note.textContent = t("This file holds no variants: open one that “Save all” made.");
      this.#note.hidden = false;
      return;
    }
    this.#studio.add(variants);
    this.#handlers.shown(variants[0]);
  }
}

const quiet = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);

/** What a variant is besides its text: only what differs from its parent, or from all others. */
function aboutOf(variant, parent, isOneModel) {
  const { model, style, temperature } = variant;
  const length = writtenIn(variant);
  return [
    (parent ? parent.model !== model : !isOneModel) && model,
    (!parent || parent.style !== style) && style,
    (!parent || parent.temperature !== temperature) && hundredths(temperature),
    counted(length, number(length), "{n} character", "{n} characters"),
  ]
    .filter(Boolean)
    .join(" · ");
}
