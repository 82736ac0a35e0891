// Write: a model, a prime, and the text that follows. The URL contains everything that decides the
// text.

import { list } from "../api.js";
import { Sheet } from "../parts/sheet.js";
import { copy, count, el, number, reducedMotion } from "../ui.js";
import { NARROW, WritingForm } from "./write/form.js";
import { clipped, fromHash, toHash } from "./write/link.js";
import { Scores } from "./write/scores.js";

/** Random seeds are below this, so that they are short. */
const DRAWN_SEEDS = 1_000_000;
/** Above this many characters per line a corpus counts as prose, not as a list. */
const PROSE_LINE = 20;
/** Seconds; a rate measured over less means nothing. */
const SHORTEST = 0.05;

export function create({ go }) {
  const view = new Write(go);
  return {
    root: view.root,
    show: (address) => void view.show(address.hash),
    hide: () => view.hide(),
  };
}

class Write {
  #go;
  #models = [];
  #isFirst = true;
  /** The URL fragment of the text on the page. */
  #asked = "";
  #seed = null;
  #form = new WritingForm({
    submitted: () => this.#submitted(),
    // Everything else stays, to show what the change does.
    changed: () => this.#seed !== null && this.#rewrite(),
    compared: () => this.#models.length && this.#rewrite(),
  });
  #panes = [
    new Pane("Text", "The text", this.#handlers()),
    new Pane("The other temperature", "The other text", this.#handlers()),
  ];
  #facts = el("p", { class: "facts" });
  #more = quiet("Continue", () => this.#continue());
  #toScore = quiet("Score", () => this.#panes[0].scores.root.focus());
  #foot = el("div", { class: "foot", hidden: true }, this.#facts, this.#actions());
  #empty = emptyPage();
  #desk = el(
    "div",
    { class: "write" },
    el(
      "div",
      { class: "page" },
      el("div", { class: "panes" }, ...this.#panes.map(({ root }) => root)),
      this.#foot,
      el("div", { class: "panes below" }, ...this.#panes.map(({ scores }) => scores.root)),
    ),
    this.#form.root,
  );

  constructor(go) {
    this.#go = go;
    this.#panes[1].root.hidden = true;
    // A browser may keep a page that was left, and what it plays.
    addEventListener("pagehide", () => this.hide());
    const title = el("h1", { class: "heard" }, "Write");
    this.root = el("div", { class: "view" }, title, this.#empty, this.#desk);
  }

  /** Shows the text of a URL fragment; on the first visit without one, a random text. */
  async show(hash) {
    await this.#refresh();
    const wanted = fromHash(hash);
    const isUnasked = !wanted && this.#isFirst && this.#models.length && !reducedMotion();
    if (wanted && hash !== this.#asked) {
      this.#form.fill(wanted);
      this.#start({ ...this.#form.settings, seed: wanted.seed }, { replace: true });
    } else if (isUnasked) {
      this.#start(this.#form.settings, { replace: true });
    }
    this.#isFirst = false;
  }

  /** Stops the music; a text is written on. */
  hide() {
    for (const { scores } of this.#panes) scores.pause();
  }

  async #refresh() {
    this.#models = await list("/models", "models");
    this.#form.offer(this.#models, favourite(this.#models)?.model ?? "");
    this.#empty.hidden = this.#models.length > 0;
    this.#desk.hidden = !this.#models.length;
  }

  // Writing

  get #shown() {
    return this.#panes.filter((pane) => !pane.root.hidden);
  }

  get #isWriting() {
    return this.#panes.some(({ sheet }) => sheet.state.status === "writing");
  }

  #start(wanted, { replace = false } = {}) {
    this.#form.clear();
    const { model, style, prime, length, temperature, compare } = wanted;
    this.#seed = wanted.seed ?? String(Math.floor(Math.random() * DRAWN_SEEDS));
    const fields = { model, style, prime, length, seed: Number(this.#seed) };
    [temperature, compare].forEach((one, i) => {
      this.#panes[i].write(fields, one, { isTitled: compare !== null });
    });
    this.#desk.classList.toggle("comparing", compare !== null);
    const hash = toHash({ ...wanted, seed: this.#seed });
    this.#asked = hash;
    if (location.hash !== hash) this.#go(hash, { replace, quietly: true });
  }

  /** Writes again with the same seed, unless the form has one. */
  #rewrite() {
    const { settings } = this.#form;
    this.#start({ ...settings, seed: settings.seed ?? this.#seed });
  }

  #submitted() {
    if (this.#isWriting) {
      for (const { sheet } of this.#panes) sheet.stop();
      return;
    }
    this.#start(this.#form.settings);
    if (!matchMedia(NARROW).matches) return;
    const behavior = reducedMotion() ? "auto" : "smooth";
    this.#panes[0].root.scrollIntoView({ block: "start", behavior });
  }

  #continue() {
    this.#form.clearMessage();
    const { model, style, length, temperature, compare } = this.#form.settings;
    for (const pane of this.#shown) {
      const fields = {
        model,
        style,
        length,
        temperature: pane === this.#panes[0] ? temperature : compare,
      };
      pane.sheet.write(fields, { isContinued: true });
    }
  }

  #handlers() {
    return { branch: (text) => this.#branch(text), changed: () => this.#changed() };
  }

  #branch(text) {
    this.#form.setPrime(clipped(text));
    this.#start({ ...this.#form.settings, seed: this.#seed });
  }

  // Status

  #changed() {
    const isWriting = this.#isWriting;
    this.#form.showWriting(isWriting);
    for (const pane of this.#shown) pane.scores.follow(pane.sheet);
    this.#toScore.hidden = this.#panes[0].scores.root.hidden;
    const { state } = this.#panes[0].sheet;
    this.#foot.hidden = state.status === "empty";
    const facts = factsOf(state, this.#seed);
    if (this.#facts.textContent !== facts) this.#facts.textContent = facts;
    this.#more.hidden = isWriting || this.#shown.some(({ sheet }) => !sheet.state.end?.state);
    const problem = this.#panes.map(({ sheet }) => sheet.state.problem).find(Boolean);
    if (problem) this.#form.refuse(problem);
  }

  #actions() {
    const text = () => this.#shown.map(({ sheet }) => sheet.text).join("\n\n");
    const copyText = quiet("Copy", () => copy(text(), copyText));
    const copyLink = quiet("Copy link", () => copy(location.href, copyLink));
    return el("div", { class: "actions" }, this.#more, this.#toScore, copyText, copyLink);
  }
}

/** A sheet under its temperature, and the scores of its tunes, which stand elsewhere. */
class Pane {
  #title = el("h2", { class: "pane-title" });

  constructor(label, textLabel, handlers) {
    this.sheet = new Sheet(textLabel, handlers);
    this.scores = new Scores(`Tunes of ${textLabel.toLowerCase()}`);
    const section = { class: "pane", "aria-label": label };
    this.root = el("section", section, this.#title, this.sheet.root);
  }

  /** Writes at a temperature; null hides the pane. */
  write(fields, temperature, { isTitled }) {
    this.root.hidden = temperature === null;
    this.#title.textContent = `${temperature ?? ""}`;
    this.#title.hidden = !isTitled;
    this.scores.clear();
    if (temperature === null) this.sheet.stop();
    else this.sheet.write({ ...fields, temperature });
  }
}

/** The length of a text, its rate and its seed, in one line. */
export function factsOf({ characters, seconds, rate, end }, seed) {
  const measured = seconds > SHORTEST ? characters / seconds : null;
  const perSecond = end && rate ? rate : measured;
  return [
    count(characters, "character"),
    perSecond && `${number(perSecond)} per second`,
    seed !== null && `seed ${seed}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** The newest model of prose: names do not fill a page. */
export function favourite(models) {
  const isProse = ({ corpus }) => !corpus?.lines || corpus.characters / corpus.lines > PROSE_LINE;
  const newest = models.toSorted((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? ""));
  return newest.find(isProse) ?? newest[0];
}

function quiet(label, click) {
  return el("button", { type: "button", class: "quiet", on: { click } }, label);
}

function emptyPage() {
  return el(
    "div",
    { class: "empty", hidden: true },
    el("p", { class: "big" }, "No models yet."),
    el(
      "p",
      {},
      "Give charloom a text and watch a network learn to write like it. The first words appear within seconds.",
    ),
    el("p", {}, el("a", { class: "button primary", href: "/train" }, "Train one")),
  );
}
