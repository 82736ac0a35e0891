// The variants, and what is being written of them. Knows the server and what is kept; no element.

import { wasAborted } from "../../api.js";
import { Pieces } from "../../parts/sheet/pieces.js";
import { Keeping } from "./keeping.js";
import { Tree } from "./tree.js";
import { lengthOf, onward } from "./variant.js";
import { writeOn } from "./writing.js";

/** Of a text that stands still. */
const RESTING = { isWriting: false, rate: null, left: 0 };
/** Seconds; a rate measured over less means nothing. */
const SHORTEST = 0.05;

export class Studio {
  tree = new Tree();
  keeping = new Keeping();
  #handlers;
  #writings = new Map();
  #rests = new Map();
  #details = new WeakMap();
  #opening = null;

  /**
   * @param {{begun, wrote, ended, changed, view}} handlers
   *   `begun(variant)` with the first piece of one that is new, `wrote(variant, text)` with the
   *   others, `ended(variant, {problem, isStopped})`, `changed()` after each change of the tree
   *   or of what is kept, `view()` returns what is shown, for undoing
   */
  constructor(handlers) {
    this.#handlers = handlers;
    // What is being written is kept as far as it came.
    addEventListener("pagehide", () => {
      for (const { variant } of this.#writings.values())
        if (this.tree.has(variant.id)) void this.keeping.keep(variant);
    });
  }

  /** Reads what was kept, once. */
  open() {
    this.#opening ??= this.keeping.open().then((kept) => this.tree.load(kept));
    return this.#opening;
  }

  // Writing

  get isWriting() {
    return this.#writings.size > 0;
  }

  /** `{isWriting, rate, left}` of a variant: its last stretch, and what is asked for. */
  statusOf({ id }) {
    return this.#writings.get(id)?.status ?? this.#rests.get(id) ?? RESTING;
  }

  /** What the server told about the characters of a variant, since the page was opened. */
  detailsOf(variant) {
    if (!this.#details.has(variant)) this.#details.set(variant, new Pieces());
    return this.#details.get(variant);
  }

  /** What is known of the beginning of one is known of the other. */
  inherit(variant, parent, until) {
    this.#details.set(variant, this.detailsOf(parent).before(until));
  }

  /** Writes `length` more characters of a variant, which joins the tree with the first. */
  async write(variant, length) {
    this.stop(variant.id);
    const controller = new AbortController();
    const status = { isWriting: true, rate: null, left: length };
    this.#writings.set(variant.id, { variant, controller, status });
    let problem = null;
    try {
      await this.#run(variant, length, status, controller.signal);
    } catch (error) {
      if (!controller.signal.aborted && !wasAborted(error)) problem = error;
    }
    const isStopped = controller.signal.aborted;
    if (this.#writings.get(variant.id)?.controller === controller)
      this.#writings.delete(variant.id);
    Object.assign(status, { isWriting: false, left: 0 });
    this.#rests.set(variant.id, status);
    this.#handlers.ended(variant, { problem, isStopped });
    if (this.tree.has(variant.id)) await this.#kept(variant);
  }

  async #run(variant, length, status, signal) {
    const began = performance.now();
    const before = variant.own;
    const writing = writeOn(variant, length, signal);
    for (;;) {
      const { done, value } = await writing.next();
      if (done) {
        // As the server measured it: text reaches the page in bursts.
        status.rate = value.characters / value.seconds;
        return;
      }
      const [seconds, characters] = [(performance.now() - began) / 1000, variant.own - before];
      if (seconds > SHORTEST) status.rate = characters / seconds;
      status.left = length - characters;
      if (value.json) this.detailsOf(variant).add(value.at, value.json);
      if (signal.aborted) return;
      if (this.tree.has(variant.id)) this.#handlers.wrote(variant, value.text);
      else this.#begun(variant);
    }
  }

  #begun(variant) {
    this.tree.add([variant], this.#handlers.view());
    this.#handlers.begun(variant);
    void this.#kept(variant);
  }

  /**
   * What to write on instead, where a text is too long to be sent or its state has expired: only
   * its last part is read.
   */
  clipped(variant) {
    const next = onward(variant);
    if (!variant.own) return Object.assign(variant, { from: next.from });
    this.inherit(next, variant, lengthOf(variant));
    return next;
  }

  /** Stops writing a variant; without an id all. */
  stop(id = null) {
    for (const [one, { controller }] of this.#writings)
      if (id === null || one === id) controller.abort();
  }

  // The tree

  add(variants) {
    this.tree.add(variants, this.#handlers.view());
    for (const variant of variants) void this.#kept(variant);
    this.#handlers.changed();
  }

  rename(id, name) {
    this.tree.rename(id, name, this.#handlers.view());
    void this.#kept(this.tree.get(id));
    this.#handlers.changed();
  }

  remove(id) {
    this.#changing(() => this.tree.remove(id, this.#handlers.view()));
  }

  clear() {
    this.#changing(() => this.tree.clear(this.#handlers.view()));
  }

  /** Undoes the last change; returns what was shown before it. */
  undo() {
    return this.#changing(() => this.tree.undo(this.#handlers.view()));
  }

  redo() {
    return this.#changing(() => this.tree.redo(this.#handlers.view()));
  }

  #changing(change) {
    const before = new Map(this.tree.all.map((variant) => [variant.id, outlineOf(variant)]));
    const result = change();
    for (const id of before.keys()) {
      if (this.tree.has(id)) continue;
      this.stop(id);
      void this.keeping.drop(id);
    }
    for (const variant of this.tree.all) {
      const isChanged = before.get(variant.id) !== outlineOf(variant);
      // There may be room now for what could not be kept.
      if (isChanged || this.keeping.misses(variant.id)) void this.#kept(variant);
    }
    this.#handlers.changed();
    return result;
  }

  async #kept(variant) {
    await this.keeping.keep(variant);
    this.#handlers.changed();
  }
}

/** What the tree changes of a variant. */
const outlineOf = ({ parent, at, name }) => JSON.stringify([parent, at, name]);
