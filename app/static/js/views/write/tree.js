// The tree of variants: which branches from which, what is undone and redone, and its file. Knows
// no element and no server.

import { lengthOf } from "./variant.js";

/** Changes that can be undone. */
const MOST_CHANGES = 100;
export const FORMAT = "charloom variants";

export class Tree {
  #variants = new Map();
  #undone = [];
  #done = [];

  get size() {
    return this.#variants.size;
  }

  get all() {
    return [...this.#variants.values()];
  }

  /** The variant of this id; undefined if there is none. */
  get(id) {
    return this.#variants.get(id);
  }

  has(id) {
    return this.#variants.has(id);
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Takes in variants that were kept; that cannot be undone. */
  load(variants) {
    for (const variant of variants) this.#variants.set(variant.id, variant);
    this.#mend();
  }

  /**
   * The variant whose own text has a position: the one to branch from there. What is before the
   * change of a variant is its parent's.
   */
  ownerAt(variant, position) {
    let owner = variant;
    while (owner.at !== null && position <= owner.at && this.has(owner.parent))
      owner = this.get(owner.parent);
    return owner;
  }

  childrenOf(id) {
    return this.all.filter(({ parent }) => parent === id);
  }

  // Changes; each can be undone, and then restores `view`, which is whatever was shown before

  add(variants, view) {
    this.#change(view, () => {
      for (const variant of variants) this.#variants.set(variant.id, variant);
    });
  }

  rename(id, name, view) {
    const variant = this.get(id);
    if (variant.name === name) return;
    this.#change(view, () => {
      variant.name = name;
    });
  }

  /** Removes a variant; its branches become its parent's. */
  remove(id, view) {
    const removed = this.get(id);
    this.#change(view, () => {
      for (const child of this.childrenOf(id)) this.#hang(child, removed);
      this.#variants.delete(id);
    });
  }

  clear(view) {
    this.#change(view, () => this.#variants.clear());
  }

  /** Undoes the last change, and returns what was shown before it; null if there is none. */
  undo(view) {
    return this.#swap(this.#done, this.#undone, view);
  }

  redo(view) {
    return this.#swap(this.#undone, this.#done, view);
  }

  #change(view, change) {
    this.#done.push(this.#snapshot(view));
    if (this.#done.length > MOST_CHANGES) this.#done.shift();
    this.#undone = [];
    change();
  }

  #swap(from, to, view) {
    const snapshot = from.pop();
    if (!snapshot) return null;
    to.push(this.#snapshot(view));
    this.#variants = new Map(
      snapshot.rows.map(({ variant, ...row }) => [variant.id, Object.assign(variant, row)]),
    );
    return snapshot.view;
  }

  /** What changes is where a variant hangs and what it is called; texts only grow. */
  #snapshot(view) {
    const rows = this.all.map((variant) => {
      const { parent, at, name } = variant;
      return { variant, parent, at, name };
    });
    return { rows, view };
  }

  /** Hangs a branch where its parent hung: it leaves that text where its parent did. */
  #hang(branch, { parent, at }) {
    branch.parent = parent;
    branch.at = at === null ? null : Math.min(at, branch.at);
  }

  /** Variants whose parent is gone, or is one of their own branches, begin on their own. */
  #mend() {
    for (const variant of this.#variants.values()) {
      const seen = new Set();
      let one = variant;
      while (one.parent !== null && this.has(one.parent) && !seen.has(one.id)) {
        seen.add(one.id);
        one = this.get(one.parent);
      }
      if (one.parent === null && one.at === null) continue;
      if (one.parent === null || !this.has(one.parent) || seen.has(one.id))
        Object.assign(one, { parent: null, at: null });
    }
  }

  // Seen as a list

  /**
   * The variants as a list: each followed by its branches, the newest text first.
   *
   * @param {Set<string>} folded ids whose branches are left out
   * @returns {{variant, level: number, place: number, siblings: number, branches: number}[]}
   */
  rows(folded = new Set()) {
    const children = new Map();
    for (const variant of this.all)
      children.set(variant.parent, [...(children.get(variant.parent) ?? []), variant]);
    const rows = [];
    const list = (siblings, level) => {
      siblings.forEach((variant, i) => {
        const branches = children.get(variant.id)?.length ?? 0;
        rows.push({ variant, level, place: i + 1, siblings: siblings.length, branches });
        if (branches && !folded.has(variant.id)) list(children.get(variant.id), level + 1);
      });
    };
    list((children.get(null) ?? []).toReversed(), 1);
    return rows;
  }

  get units() {
    return this.all.reduce((sum, variant) => sum + weightOf(variant), 0);
  }

  /** The tree as JSON, without the states, which only its server could read. */
  toJSON() {
    const variants = this.all.map(({ marks: _, ...variant }) => variant);
    return { format: FORMAT, version: 1, variants };
  }
}

/** UTF-16 units that a variant takes where it is kept. */
export const weightOf = (variant) =>
  lengthOf(variant) + variant.marks.reduce((sum, { state }) => sum + state.length, 0);
