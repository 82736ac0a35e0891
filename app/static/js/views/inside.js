// Inside: the essay's pictures, for any model and any text. They show a cell's activation at each
// character, the network's guesses, what surprised it, and which cells track something that has a
// name.

import { Latest, list, wasAborted, whenReady } from "../api.js";
import { MAX_INSPECTED } from "../limits.js";
import { count, el, field, heading, isNarrow, loss, message, select } from "../ui.js";
import { Findings } from "./inside/findings.js";
import { hidesCell, Modes } from "./inside/modes.js";
import { OwnText } from "./inside/own_text.js";
import { Picker } from "./inside/picker.js";
import { Picture } from "./inside/picture.js";
import { placeOf, urlOf } from "./inside/place.js";
import { Ranking } from "./inside/ranking.js";
import { covers, generate, pathOf, Reading } from "./inside/reading.js";

/** The seed of the text that the model writes unasked. */
const FIRST_SEED = 1;
const SEEDS = 1_000_000;

export const create = ({ go }) => new Inside(go);

class Inside {
  #go;
  #models = [];
  #model = null;
  #findings = new Findings();
  #cell = { layer: 0, cell: 0 };
  /** Whether a person or a link chose the cell. */
  #isChosen = false;
  /** The pasted text, while that is what is shown. */
  #ownText = null;
  #reading = null;
  #searching = new Latest();
  #opening = new Latest();

  #said = message();
  #facts = el("p", { class: "facts" });
  #choice = select([], { name: "model", on: { change: () => this.#switch(this.#choice.value) } });
  #picker = new Picker((cell) => this.#pick(cell));
  #ranking = new Ranking((cell, hypothesis) => this.#pickRanked(cell, hypothesis));
  #modes = new Modes("guesses", () => this.#changeMode());
  #picture = new Picture((cell) => this.#pick(cell), this.#said);
  #own = new OwnText((text) => this.#readOwn(text));
  #unseen = quietButton("Unseen text", () => this.#readUnseen());
  #generate = quietButton("Generate a text", () =>
    this.#readGenerated(Math.floor(Math.random() * SEEDS)),
  );

  constructor(go) {
    this.#go = go;
    this.#unseen.hidden = true;
    const lead =
      "Some cells track something that has a name: whether a quote is open, how long a line is, how deep the brackets are. Most keep their secret.";
    this.root = el(
      "div",
      { class: "view" },
      heading("Inside a network", lead),
      el("div", { class: "write inside" }, this.#page(), this.#rail()),
    );
  }

  #page() {
    const actions = el("div", { class: "actions" }, this.#unseen, this.#generate);
    return el(
      "div",
      { class: "inside-page" },
      el("div", { class: "inside-head" }, this.#modes.root, this.#modes.legend),
      this.#modes.about,
      this.#said.place,
      this.#picture.root,
      el("div", { class: "inside-head" }, this.#facts, actions),
      this.#own.root,
    );
  }

  #rail() {
    return el(
      "div",
      { class: "rail", role: "group", "aria-label": "Which cell" },
      field("Model", this.#choice),
      ...this.#picker.nodes,
      this.#ranking.root,
    );
  }

  // The URL

  show(url) {
    void this.#show(placeOf(url.searchParams));
  }

  async #show(place) {
    this.#models = await list("/models", "models");
    this.#choice.replaceChildren(...this.#models.map(({ model }) => new Option(model)));
    if (!this.#models.length) {
      const link = el("a", { href: "/train" }, "Train one.");
      this.#said.say("There is no model to look into yet. ", "note", link);
      return;
    }
    if (this.#isShown(place.model)) {
      this.#choice.value = this.#model.model;
      return;
    }
    this.#cell = { layer: place.layer ?? 0, cell: place.cell ?? 0 };
    this.#isChosen = place.cell !== null;
    if (place.mode) this.#modes.mode = place.mode;
    await this.#open(place.model ?? this.#model?.model);
  }

  /** Whether the wanted model, or any if none is wanted, is the one on the page, unchanged. */
  #isShown(wanted) {
    const { model, digest } = this.#model ?? {};
    const isCurrent = this.#models.some((one) => one.model === model && one.digest === digest);
    return isCurrent && (!wanted || wanted === model);
  }

  #remember() {
    const place = { model: this.#model.model, ...this.#cell, mode: this.#modes.mode };
    this.#go(urlOf(place), { replace: true, quietly: true });
  }

  // A model

  #switch(name) {
    this.#isChosen = false;
    this.#open(name);
  }

  async #open(name) {
    this.#model = this.#models.find(({ model }) => model === name) ?? this.#models[0];
    const { config } = this.#model;
    this.#choice.value = this.#model.model;
    this.#picker.fit(config);
    this.#cell = {
      layer: Math.min(this.#cell.layer, config.num_layers - 1),
      cell: Math.min(this.#cell.cell, config.hidden_size - 1),
    };
    this.#reset();
    if (this.#ownText !== null) this.#read(this.#ownText);
    await this.#search(this.#searching.begin());
  }

  #reset() {
    this.#findings = new Findings();
    this.#ranking.clear();
    this.#unseen.hidden = true;
    this.#said.clear();
    this.#leave();
    this.#opening.abort();
    this.#picture.busy = false;
    this.#showCell();
    if (this.#ownText === null) this.#picture.clear();
  }

  /** Searches the model's cells, and shows unseen text once that is done. */
  async #search(signal) {
    // A first search takes long: meanwhile there is a text to look at.
    let hasText = this.#ownText !== null;
    const waiting = () => {
      this.#ranking.said.say(
        "Searching the cells. This happens once for each model and takes a few seconds …",
      );
      if (!hasText) this.#readGenerated(FIRST_SEED);
      hasText = true;
    };
    try {
      const found = await whenReady(`${pathOf(this.#model)}/cells`, { signal, waiting });
      this.#ranking.said.clear();
      this.#showFindings(new Findings(found));
    } catch (error) {
      if (!wasAborted(error)) this.#ranking.said.say(error.message, "problem");
      return;
    }
    if (hasText) this.#turnTo(this.#cell);
    else this.#readUnseen();
  }

  #showFindings(findings) {
    this.#findings = findings;
    if (!this.#isChosen) this.#cell = findings.best() ?? this.#cell;
    this.#unseen.hidden = !findings.unseen().text;
    this.#ranking.show(findings);
    this.#showCell();
  }

  // A text

  #readOwn(text) {
    this.#ownText = text;
    this.#read(text);
  }

  #readUnseen() {
    this.#ownText = null;
    const { text, stretches } = this.#findings.unseen();
    if (text) this.#read(text, stretches);
    else this.#readGenerated(FIRST_SEED);
  }

  async #readGenerated(seed) {
    const signal = this.#opening.begin();
    this.#said.say("Generating …");
    try {
      const text = await generate(this.#model, seed, signal);
      this.#ownText = null;
      this.#read(text);
    } catch (error) {
      if (!wasAborted(error)) this.#said.say(error.message, "problem");
    }
  }

  async #read(wanted, stretches = []) {
    const text = wanted.slice(0, MAX_INSPECTED);
    this.#own.clearErrors();
    if (!text || !this.#model) return;
    this.#own.show(text);
    this.#leave();
    this.#said.clear();
    this.#picture.busy = true;
    const signal = this.#opening.begin();
    const offeredIn = (layer) => this.#findings.offeredIn(layer);
    try {
      const wish = { cell: this.#cell, offeredIn, stretches, signal };
      const reading = await Reading.open(this.#model, text, wish);
      this.#reading = reading;
      this.#describe(reading);
      this.#picture.busy = false;
      this.#turnTo(this.#cell);
      for await (const block of reading.ahead(signal)) if (covers(block, this.#cell)) this.#draw();
    } catch (error) {
      if (wasAborted(error)) return;
      this.#picture.busy = false;
      if (!this.#own.showErrors(error)) this.#said.say(error.message, "problem");
    }
  }

  #describe({ chars, bpc, unknown }) {
    this.#facts.textContent = `${count(chars.length, "character")}, ${loss(bpc)} bpc`;
    if (unknown)
      this.#said.say(`Left out ${count(unknown, "character")} that this model does not know.`);
  }

  /** Leaves the text that is shown; its picture stays until there is another. */
  #leave() {
    this.#reading?.close();
    this.#reading = null;
    this.#draw();
  }

  // A cell

  /** Turns to a cell that a person picked, in a picture that shows it. */
  #pick(cell) {
    this.#isChosen = true;
    if (hidesCell(this.#modes.mode)) this.#modes.mode = "cell";
    this.#turnTo(cell);
    this.#remember();
  }

  #pickRanked(cell, { excerpt }) {
    this.#pick(cell);
    const index = excerpt && this.#reading ? this.#reading.find(excerpt) : -1;
    if (index >= 0) this.#picture.reveal(index);
    if (isNarrow()) this.#picture.root.scrollIntoView({ block: "nearest" });
  }

  /** Shows a cell, and asks for its activations where they are not here yet. */
  async #turnTo(cell) {
    this.#cell = cell;
    this.#showCell();
    this.#draw();
    const reading = this.#reading;
    if (!reading?.lacks(cell)) return;
    this.#picture.busy = true;
    try {
      await reading.load(cell);
    } catch (error) {
      if (wasAborted(error)) return;
      this.#said.say(error.message, "problem");
    }
    if (reading !== this.#reading) return;
    this.#picture.busy = false;
    this.#draw();
  }

  #showCell() {
    this.#picker.show(this.#cell);
    this.#ranking.mark(this.#cell);
    this.#picture.name(this.#cell, this.#findings.tracked(this.#cell));
  }

  #changeMode() {
    this.#draw();
    this.#remember();
  }

  #draw() {
    this.#picture.draw(this.#modes.mode, this.#reading);
  }
}

const quietButton = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);
