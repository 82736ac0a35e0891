// The picture of a text in one of four modes, and the line above it about the character that is
// pointed at. This is where the colours of Inside are chosen; app.css defines them.

import { counted, t, together, woven } from "../../language.js";
import { Grid } from "../../parts/grid.js";
import { el, glyph, hundredths, loss, number, percent } from "../../ui.js";
import { tally, verdicts } from "./verdicts.js";
import { Weave } from "./weave.js";

/** Nats from which a surprise has the strongest colour. */
const STRONGEST = 6;

export class Picture {
  #said;
  #cell = { layer: 0, cell: 0 };
  #tracked = null;
  #best = null;
  #shown = { mode: "guesses", reading: null };
  #readout = el("p", { class: "readout", "aria-hidden": "true" });
  #grid = new Grid({
    label: t("The text as the network sees it"),
    pointed: (index) => this.#pointed(index),
  });
  #weave;

  /** `picked` is called with the cell whose thread was clicked; `said` shows progress. */
  constructor(picked, said) {
    this.#said = said;
    this.#weave = new Weave({
      pointed: (place) => this.#pointedThread(place),
      picked: ({ cell }) => picked({ layer: this.#cell.layer, cell }),
    });
    this.root = el(
      "div",
      { class: "card picture" },
      this.#readout,
      this.#grid.root,
      this.#weave.root,
    );
    addEventListener("colours", () => this.#isWoven() && this.#drawWeave());
    onPaper(() => this.#grid.drawAll());
  }

  set busy(isBusy) {
    if (isBusy) this.root.setAttribute("aria-busy", "true");
    else this.root.removeAttribute("aria-busy");
  }

  /**
   * Names the cell in the readout; `tracked` says what it tracks, in words, and `best` what it does
   * best: `{hypothesis, score}`.
   */
  name(cell, tracked, best) {
    this.#cell = cell;
    this.#tracked = tracked;
    this.#best = best;
    this.#pointed(null);
  }

  clear() {
    this.#grid.update({ chars: [], paint: () => null, below: null });
  }

  /** Draws a reading in a mode; without a reading the last picture stays. */
  draw(mode, reading) {
    this.#shown = { mode, reading };
    this.#weave.root.hidden = mode !== "weave";
    this.#grid.root.hidden = mode === "weave";
    if (!reading) return;
    if (mode === "weave") this.#drawWeave();
    else
      this.#grid.update({
        chars: reading.chars,
        paint: mode === "surprise" ? bySurprise(reading) : byCell(reading, this.#cell),
        below: mode === "guesses" ? guesses(reading) : null,
        seams: reading.seams,
      });
    this.#pointed(null);
  }

  /** Scrolls to a character. */
  reveal(index) {
    this.#grid.reveal(index);
  }

  #isWoven() {
    return this.#shown.mode === "weave" && this.#shown.reading;
  }

  async #drawWeave() {
    const { reading } = this.#shown;
    const { layer } = this.#cell;
    const isNew = !reading.hasThreads(layer);
    if (isNew) this.#said.say(t("Laying out the threads …"));
    try {
      const threads = await reading.threads(layer);
      if (isNew) this.#said.clear();
      const isCurrent = this.#shown.reading === reading && this.#cell.layer === layer;
      if (this.#isWoven() && isCurrent) this.#weave.draw(threads, reading.chars);
    } catch (error) {
      this.#said.say(error.message, "problem");
    }
  }

  /** Shows a character in the readout, or the cell; returns the words about the character. */
  #pointed(index) {
    const { reading } = this.#shown;
    if (index === null || !reading) {
      this.#readout.replaceChildren(this.#aboutCell());
      return "";
    }
    const words = this.#aboutCharacter(reading, index);
    this.#readout.replaceChildren(el("strong", {}, glyph(reading.chars[index])), ` ${words}`);
    return words;
  }

  #pointedThread({ index, char, cell, activation }) {
    this.#readout.replaceChildren(
      el("strong", {}, glyph(char)),
      ` ${t("cell {cell}, activation {activation} at character {place}", {
        cell,
        activation: hundredths(activation),
        place: number(index + 1),
      })}`,
    );
  }

  /** What is shown, while nothing is pointed at. */
  #aboutCell() {
    const { mode, reading } = this.#shown;
    const { layer, cell } = this.#cell;
    if (mode === "surprise") {
      const mean = reading && t("{bits} bits a character on average.", { bits: loss(reading.bpc) });
      return el("span", { class: "soft" }, together(mean, t("Point at a character.")));
    }
    if (mode === "weave") {
      const name = t("Layer {layer}", { layer });
      return softBeside(name, woven("{layer}: all of its cells.", { layer: name }));
    }
    const name = t("Layer {layer}, cell {cell}", { layer, cell });
    if (!this.#tracked)
      return softBeside(name, woven("{cell}. Point at a character.", { cell: name }));
    const words = woven("{cell} tracks {what}.", { cell: name, what: this.#tracked });
    return softBeside(name, words, this.#score(reading));
  }

  /** How many characters of the text the cell is right about. */
  #score(reading) {
    const { right, of } = tally(this.#verdicts(reading));
    if (!of) return "";
    return counted(
      of,
      number(of),
      "Here it is right in {right} of {n} character.",
      "Here it is right in {right} of {n} characters.",
      { right: number(right) },
    );
  }

  #verdicts(reading) {
    const values = reading?.activations(this.#cell);
    const truth = reading?.truth(this.#best?.hypothesis.name);
    return values && truth ? verdicts(values, truth, this.#best.score) : [];
  }

  #aboutCharacter(reading, index) {
    const { probability, loss: surprise } = reading.characters[index];
    const values = { percent: percent(probability), nats: loss(surprise) };
    const activation = reading.activations(this.#cell)?.[index];
    if (activation === undefined || this.#shown.mode === "surprise")
      return t("{percent} likely, {nats} nats", values);
    values.activation = hundredths(activation);
    const verdict = this.#verdicts(reading)[index] ?? null;
    if (verdict === null)
      return t("{percent} likely, {nats} nats, activation {activation}", values);
    return verdict
      ? t("{percent} likely, {nats} nats, activation {activation}, right ✓", values)
      : t("{percent} likely, {nats} nats, activation {activation}, a miss ✗", values);
  }
}

/** A sentence about something, of which all but its name is soft. */
function softBeside(name, sentence, more = "") {
  const soft = (words) => el("span", { class: "soft" }, words);
  const one = el("span", {}, ...sentence.map((part) => (part === name ? part : soft(part))));
  return more ? el("span", {}, ...woven("{one} {two}", { one, two: soft(more) })) : one;
}

// Colours: the name of one, and its strength from 0 to 1

function byCell(reading, cell) {
  const values = reading.activations(cell);
  return (i) => {
    if (!values) return null;
    const strength = Math.min(1, Math.abs(values[i]));
    return values[i] > 0 ? ["--excited", strength, 1] : ["--quiet", strength, -1];
  };
}

const bySurprise = (reading) => (i) => [
  "--surprise",
  Math.min(1, reading.characters[i].loss / STRONGEST),
  1,
];

const guesses = (reading) => (i) =>
  reading.characters[i].top.map(([char, p]) => [
    char,
    p,
    Boolean(reading.chars[i + 1]?.startsWith(char)),
  ]);

/** Draws for paper, in light colours, whenever the page is printed. */
function onPaper(draw) {
  const { dataset } = document.documentElement;
  let before = null;
  addEventListener("beforeprint", () => {
    before = dataset.theme ?? "";
    dataset.theme = "light";
    dispatchEvent(new Event("colours"));
    draw();
  });
  addEventListener("afterprint", () => {
    if (before) dataset.theme = before;
    else delete dataset.theme;
    dispatchEvent(new Event("colours"));
  });
}
