// What is asked of Write: new texts, branches, other settings, edits; and what is said when one ends.
// Knows the form, what is shown and what is kept; no URL.

import { Problem } from "../../api.js";
import { counted } from "../../language.js";
import { MAX_PRIME } from "../../limits.js";
import { el, isNarrow, number, reducedMotion } from "../../ui.js";
import { remember } from "./keeping.js";
import { again, begun, branched, charactersIn, primeOf } from "./variant.js";
import { NEEDS_CLIPPING, TOO_LONG, UNKNOWN } from "./writing.js";

/** Random seeds are below this, so that they are short. */
const DRAWN_SEEDS = 1_000_000;

const MENDED = [NEEDS_CLIPPING, TOO_LONG, UNKNOWN];

export class Author {
  #form;
  #stage;
  #studio;
  #handlers;
  /** By their ids the variants that are asked for and not there yet: `{side, replace, length}`. */
  #coming = new Map();

  /**
   * @param {{form: WritingForm, stage: Stage, studio: Studio}} parts
   * @param {{shown, closed, draw}} handlers
   *   `shown({replace, isAsked})` follows another text, `closed(side)` the wish to close a side, `draw()`
   *   any other change
   */
  constructor({ form, stage, studio }, handlers) {
    this.#form = form;
    this.#stage = stage;
    this.#studio = studio;
    this.#handlers = handlers;
  }

  start(wanted, { replace = false } = {}) {
    this.#form.clear();
    this.#form.taken();
    remember("model", wanted.model);
    const { length, temperature, compare } = wanted;
    const seed = wanted.seed ?? drawn();
    const temperatures = compare === null ? [temperature] : [temperature, compare];
    temperatures.forEach((one, i) => {
      const side = compare === null ? this.#stage.active : i;
      const variant = begun({ ...wanted, temperature: one, seed });
      if (charactersIn(primeOf(variant)) > MAX_PRIME) {
        const problem = new Problem(422, "", [], 0, TOO_LONG);
        void this.#refused(problem, variant, { side, length });
      } else this.#write(variant, { side, length, replace });
    });
  }

  /** Writes a variant, which is shown on a side once it begins. What is written there stops. */
  #write(variant, { side, length, replace = false }) {
    const shown = this.#stage.on(side);
    if (shown) this.#studio.stop(shown.id);
    for (const [id, coming] of this.#coming) if (coming.side === side) this.#studio.stop(id);
    this.#coming.set(variant.id, { side, length, replace });
    void this.#studio.write(variant, length);
    this.#handlers.draw();
  }

  submitted() {
    if (this.#studio.isWriting) {
      this.#studio.stop();
      return;
    }
    this.start(this.#form.settings);
    if (!isNarrow()) return;
    const behavior = reducedMotion() ? "auto" : "smooth";
    this.#stage.root.scrollIntoView({ block: "start", behavior });
  }

  /** Writes again from the same beginning and seed, to show what another setting does. */
  settingsChanged({ isModel }) {
    const { settings } = this.#form;
    if (isModel) remember("model", settings.model);
    else this.#stage.hints.follow("temperature");
    const { variant, active } = this.#stage;
    if (!variant) return;
    this.#form.clear();
    if (this.#form.isTyped) this.start({ ...settings, seed: settings.seed ?? variant.seed });
    else if (settings.compare === null) this.#rewrite(active, settings.temperature);
    else
      [settings.temperature, settings.compare].forEach((temperature, side) => {
        const wanted = { ...settings, temperature };
        const shown = this.#stage.on(side);
        const isSame = ["model", "style", "temperature"].every(
          (one) => shown?.[one] === wanted[one],
        );
        if (!isSame) this.#rewrite(side, temperature);
      });
  }

  #rewrite(side, temperature) {
    const variant = this.#stage.on(side) ?? this.#stage.on(0);
    const { model, style, seed } = this.#form.settings;
    this.#writeAgain(side, variant, { model, style, temperature, seed: seed ?? variant.seed });
  }

  #writeAgain(side, variant, settings) {
    const next = again(variant, settings);
    this.#studio.inherit(next, variant, variant.base);
    this.#write(next, { side, length: this.#form.settings.length });
  }

  comparisonChanged() {
    const { compare } = this.#form.settings;
    if (!this.#stage.on(0)) return;
    if (compare !== null) this.#rewrite(1, compare);
    else if (this.#stage.on(1)) this.#handlers.closed(1);
  }

  proceed() {
    this.#form.clear();
    const { isPair, variants, variant } = this.#stage;
    const { length } = this.#form.settings;
    for (const one of isPair ? variants : [variant]) void this.#studio.write(one, length);
    this.#handlers.draw();
  }

  again() {
    const { variant, active } = this.#stage;
    this.#form.clear();
    const seed = this.#form.settings.seed ?? drawn();
    this.#writeAgain(active, variant, { ...variant, seed });
  }

  branch(side, position, char, details) {
    const shown = this.#stage.on(side);
    const parent = this.#studio.tree.ownerAt(shown, position);
    const next = branched(parent, position, char);
    const probability = details.top.find(([other]) => other === char)?.[1] ?? null;
    const told = { characters: [{ ...details, char, probability }] };
    this.#studio.inherit(next, parent, position);
    this.#studio.detailsOf(next).add(position, JSON.stringify(told));
    this.#form.clear();
    this.#write(next, { side, length: this.#form.settings.length });
  }

  async edit() {
    const [{ Editor }, { edited }] = await Promise.all([
      import("./editor.js"),
      import("./edits.js"),
    ]);
    const { variant } = this.#stage;
    const text = await new Editor(variant).open(this.#stage.root);
    const next = text === null ? null : edited(variant, text, drawn());
    if (next) {
      this.#studio.inherit(next, variant, next.at);
      this.#studio.add([next]);
      this.#stage.place(this.#stage.active, next);
      this.#handlers.shown({});
    }
    this.#stage.focus();
  }

  // What comes

  begun(variant) {
    const coming = this.#coming.get(variant.id);
    if (!coming) return;
    this.#coming.delete(variant.id);
    this.#stage.place(coming.side, variant);
    this.#handlers.shown({ ...coming, isAsked: true });
  }

  ended(variant, { problem, isStopped }) {
    const coming = this.#coming.get(variant.id);
    this.#coming.delete(variant.id);
    this.#stage.ended(variant, endOf(variant, problem, isStopped));
    if (problem) {
      const side = Math.max(0, this.#stage.variants.indexOf(variant));
      const { length } = this.#form.settings;
      void this.#refused(problem, variant, coming ?? { side, length });
    }
    this.#handlers.draw();
  }

  /** Says what is wrong, with buttons for what can be done about it. */
  async #refused(problem, variant, how) {
    if (!MENDED.includes(problem.code)) return this.#form.refuse(problem);
    const { mendsOf } = await import("./mending.js");
    const { shown, mends } = mendsOf(problem, variant, this.#studio);
    const buttons = mends.map(({ label, mended }) => {
      const click = async () => {
        this.#form.clear();
        const next = await mended();
        if (next.parent === null) this.#form.prime = primeOf(next);
        if (this.#studio.tree.has(next.id)) void this.#studio.write(next, how.length);
        else this.#write(next, how);
        this.#handlers.draw();
      };
      return el("button", { type: "button", on: { click } }, label);
    });
    this.#form.refuse(shown, buttons);
  }
}

/** What is said to those who listen, when a text has ended. */
function endOf({ own }, problem, isStopped) {
  const shown = number(own);
  if (problem)
    return counted(
      own,
      shown,
      "The text ends after {n} character: {problem}",
      "The text ends after {n} characters: {problem}",
      { problem: problem.message },
    );
  return isStopped
    ? counted(own, shown, "Stopped after {n} character.", "Stopped after {n} characters.")
    : counted(
        own,
        shown,
        "The text is complete: {n} character.",
        "The text is complete: {n} characters.",
      );
}

const drawn = () => String(Math.floor(Math.random() * DRAWN_SEEDS));
