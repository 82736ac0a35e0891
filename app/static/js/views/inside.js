// Inside: the essay's pictures, for any model and any text. They show a cell's activation at each
// character, the network's guesses, what surprised it, and which cells track something that has a
// name.

import { get, Latest, list, wasAborted, whenReady } from "../api.js";
import { MAX_INSPECTED } from "../limits.js";
import { StyleChoice } from "../parts/styles.js";
import { count, el, field, heading, isNarrow, loss, message, select } from "../ui.js";
import { AboutCell } from "./inside/about_cell.js";
import { Findings } from "./inside/findings.js";
import { hidesCell, Modes } from "./inside/modes.js";
import { OwnText } from "./inside/own_text.js";
import { Picker } from "./inside/picker.js";
import { Picture } from "./inside/picture.js";
import { missingFrom, placeOf, urlOf } from "./inside/place.js";
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
  /** Of what the cell tracks, the one that was picked. */
  #hypothesis = null;
  /** Whether a person or a link chose the cell. */
  #isChosen = false;
  /** Whether a link names a cell that does not exist: until another is picked, none is shown. */
  #isLost = false;
  /** The pasted text, while that is what is shown. */
  #ownText = null;
  /** Which passages of unseen text are shown; null while another text is. */
  #turn = null;
  /** The slide that is being presented, counted from 1. */
  #slide = null;
  #reading = null;
  #searching = new Latest();
  #opening = new Latest();

  #said = message();
  #facts = el("p", { class: "facts" });
  #choice = select([], { name: "model", on: { change: () => this.#switch() } });
  #style = new StyleChoice(() => this.#restyle());
  #picker = new Picker((cell) => this.#pick(cell));
  #ranking = new Ranking((cell, hypothesis) => this.#pickRanked(cell, hypothesis));
  #modes = new Modes("guesses", () => this.#changeMode());
  #picture = new Picture((cell) => this.#pick(cell), this.#said);
  #about = new AboutCell(() => this.#style.value);
  #own = new OwnText((text) => this.#readOwn(text));
  #unseen = quietButton("Unseen text", () => this.#readUnseen((this.#turn ?? -1) + 1));
  #generate = quietButton("Generate a text", () =>
    this.#readGenerated(Math.floor(Math.random() * SEEDS)),
  );
  #present = el(
    "button",
    { type: "button", hidden: true, on: { click: () => this.#presentCell() } },
    "Present",
  );

  constructor(go) {
    this.#go = go;
    this.#unseen.hidden = true;
    const lead =
      "Some cells track something that has a name: whether a quote is open, how long a line is, how deep the brackets are. Most keep their secret.";
    this.root = el(
      "div",
      { class: "view inside-view" },
      heading("Inside a network", lead),
      el("div", { class: "write inside" }, this.#page(), this.#rail()),
    );
  }

  #page() {
    const actions = el("div", { class: "actions" }, this.#unseen, this.#generate);
    return el(
      "div",
      { class: "inside-page" },
      el("div", { class: "inside-head" }, this.#modes.root, this.#modes.legend, this.#present),
      this.#said.place,
      this.#picture.root,
      this.#modes.about,
      el("div", { class: "inside-head" }, this.#facts, actions),
      this.#own.root,
      this.#about.root,
    );
  }

  #rail() {
    return el(
      "div",
      { class: "rail", role: "group", "aria-label": "Which cell" },
      field("Model", this.#choice),
      this.#style.root,
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
    const wanted = place.model ?? this.#model?.model;
    const model = wanted ? await this.#find(wanted) : this.#models[0];
    if (!model) {
      this.#lose(`There is no model “${wanted}” on this server. Choose another one.`);
      return;
    }
    if (this.#model?.model === model.model && this.#model.digest === model.digest) {
      this.#choice.value = model.model;
      if (place.cell === null || missingFrom(place, model)) return;
      this.#pick({ layer: place.layer ?? 0, cell: place.cell });
      return;
    }
    if (place.mode) this.#modes.mode = place.mode;
    if (place.text) this.#ownText = place.text.slice(0, MAX_INSPECTED);
    await this.#open(model, place);
  }

  /** A model of this name, or of a name with a tag; undefined if there is none. */
  async #find(name) {
    const listed = this.#models.find(({ model }) => model === name);
    if (listed || !name.includes(":")) return listed;
    try {
      const found = { ...(await get(`/models/${encodeURIComponent(name)}`)), model: name };
      this.#choice.append(new Option(name));
      return found;
    } catch (error) {
      if (error.status === 404 || error.status === 422) return undefined;
      throw error;
    }
  }

  /** Shows nothing but why there is nothing to show. */
  #lose(words) {
    this.#model = null;
    this.#choice.selectedIndex = -1;
    this.#reset();
    this.#picture.clear();
    this.#facts.textContent = "";
    this.#said.say(words, "problem");
  }

  #remember() {
    const place = {
      ...{ model: this.#model.model, ...this.#cell, mode: this.#modes.mode },
      ...{ style: this.#style.value, text: this.#ownText, slide: this.#slide },
    };
    this.#go(urlOf(place), { replace: true, quietly: true });
  }

  // A model

  async #switch() {
    await this.#open(this.#models.find(({ model }) => model === this.#choice.value));
    this.#remember();
  }

  async #open(model, place = {}) {
    this.#model = model;
    this.#choice.value = model.model;
    this.#picker.fit(model.config);
    this.#style.offer(model.styles ?? []);
    if (place.style) this.#style.value = place.style;
    const missing = missingFrom(place, model);
    const isNamed = !missing && (place.cell ?? null) !== null;
    this.#cell = isNamed
      ? { layer: place.layer ?? 0, cell: place.cell }
      : { layer: (!missing && place.layer) || 0, cell: 0 };
    this.#isChosen = isNamed;
    this.#isLost = Boolean(missing);
    this.#reset();
    if (missing) this.#said.say(missing, "problem");
    else if (this.#ownText !== null) this.#read(this.#ownText);
    await this.#search(this.#searching.begin());
    if (place.slide && this.#reading) this.#presentCell(place.slide - 1);
  }

  #reset() {
    this.#findings = new Findings();
    this.#hypothesis = null;
    this.#turn = null;
    this.#ranking.clear();
    this.#unseen.hidden = true;
    this.#present.hidden = true;
    this.#said.clear();
    this.#searching.abort();
    this.#opening.abort();
    this.#leave();
    this.#picture.busy = false;
    if (!this.#model) return;
    this.#showCell();
    if (this.#ownText === null || this.#isLost) this.#picture.clear();
  }

  /** Searches the model's cells, and shows unseen text once that is done. */
  async #search(signal) {
    // A first search takes long: meanwhile there is a text to look at.
    let hasText = this.#ownText !== null || this.#isLost;
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
    if (!hasText) await this.#readUnseen(0);
    else if (!this.#isLost) this.#turnTo(this.#cell);
  }

  #showFindings(findings) {
    this.#findings = findings;
    if (!this.#isChosen) this.#cell = findings.best() ?? this.#cell;
    this.#unseen.hidden = !findings.passages.length;
    this.#ranking.show(findings);
    this.#showCell();
  }

  // A text

  #readOwn(text) {
    this.#ownText = text;
    this.#read(text);
    this.#remember();
  }

  #restyle() {
    this.#remember();
    if (this.#ownText !== null) this.#read(this.#ownText);
    else if (this.#turn !== null) this.#readUnseen(this.#turn);
    else this.#readGenerated(FIRST_SEED);
  }

  async #readUnseen(turn) {
    const { text, seams } = this.#findings.unseen(this.#cell, turn, this.#best?.hypothesis);
    if (!text) return this.#readGenerated(FIRST_SEED);
    this.#forgetOwn();
    await this.#read(text, seams, turn);
  }

  async #readGenerated(seed) {
    const signal = this.#opening.begin();
    this.#said.say("Generating …");
    try {
      const text = await generate(this.#model, seed, this.#style.value, signal);
      this.#forgetOwn();
      await this.#read(text);
    } catch (error) {
      if (!wasAborted(error)) this.#said.say(error.message, "problem");
    }
  }

  #forgetOwn() {
    const had = this.#ownText !== null;
    this.#ownText = null;
    if (had) this.#remember();
  }

  async #read(wanted, seams = [], turn = null) {
    const text = wanted.slice(0, MAX_INSPECTED);
    this.#own.clearErrors();
    if (!text || !this.#model) return;
    this.#turn = turn;
    this.#own.show(text);
    this.#leave();
    this.#said.clear();
    this.#picture.busy = true;
    const signal = this.#opening.begin();
    const offeredIn = (layer) => this.#findings.offeredIn(layer);
    const hypothesis = this.#best?.hypothesis.name;
    try {
      const wish = { cell: this.#cell, offeredIn, hypothesis, seams, signal };
      const reading = await Reading.open(this.#model, text, { ...wish, style: this.#style.value });
      this.#reading = reading;
      this.#describe(reading);
      this.#picture.busy = false;
      this.#present.hidden = false;
      this.#turnTo(this.#cell);
      this.#readAhead(reading, signal);
    } catch (error) {
      if (wasAborted(error)) return;
      this.#picture.busy = false;
      if (!this.#own.showErrors(error)) this.#said.say(error.message, "problem");
    }
  }

  /** Has cells brought that are a click away. */
  async #readAhead(reading, signal) {
    try {
      for await (const block of reading.ahead(signal)) if (covers(block, this.#cell)) this.#draw();
    } catch (error) {
      if (!wasAborted(error)) this.#said.say(error.message, "problem");
    }
  }

  #describe({ chars, bpc, unknown, seams }) {
    const passages = seams.size
      ? `, ${count(seams.size + 1, "passage")}: the network begins anew at each dashed line`
      : "";
    this.#facts.textContent = `${count(chars.length, "character")}, ${loss(bpc)} bpc${passages}`;
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

  /** What the cell tracks, the picked thing or what it tracks best, and how well. */
  get #best() {
    const tracked = this.#findings.trackedBy(this.#cell);
    return tracked.find(({ hypothesis }) => hypothesis === this.#hypothesis) ?? tracked[0] ?? null;
  }

  /** Turns to a cell that a person picked, in a picture that shows it. */
  #pick(cell, hypothesis = null) {
    if (!this.#model) return;
    this.#isChosen = true;
    this.#hypothesis = hypothesis;
    if (hidesCell(this.#modes.mode)) this.#modes.mode = "cell";
    if (this.#isLost) this.#said.clear();
    const isFirst = this.#isLost;
    this.#isLost = false;
    this.#turnTo(cell);
    if (isFirst) this.#readUnseen(0);
    this.#remember();
  }

  #pickRanked(cell, hypothesis) {
    const showsUnseen = this.#turn !== null;
    this.#pick(cell, hypothesis);
    // Passages that show what the cell tracks; another text stays.
    if (showsUnseen) this.#readUnseen(0);
    if (isNarrow()) this.#picture.root.scrollIntoView({ block: "nearest" });
  }

  /** Shows a cell, and asks for its activations where they are not here yet. */
  async #turnTo(cell) {
    if (cell !== this.#cell && this.#turn !== null) this.#turn = -1;
    this.#cell = cell;
    this.#showCell();
    this.#draw();
    const reading = this.#reading;
    const hypothesis = this.#best?.hypothesis.name;
    if (!reading?.lacks(cell, hypothesis)) return;
    this.#picture.busy = true;
    try {
      await reading.load(cell, hypothesis);
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
    this.#picture.name(this.#cell, this.#findings.tracked(this.#cell), this.#best);
    if (!this.#isLost) this.#about.show(this.#model, this.#cell);
  }

  #changeMode() {
    this.#draw();
    this.#remember();
  }

  #draw() {
    this.#picture.draw(this.#modes.mode, this.#reading);
  }

  // A class

  async #presentCell(slide = 0) {
    const { present } = await import("./inside/presenting.js");
    await present({
      ...{ model: this.#model, cell: this.#cell, best: this.#best, style: this.#style.value },
      passages:
        this.#turn === null ? null : this.#findings.passagesFor(this.#cell, this.#best?.hypothesis),
      ...{ reading: this.#reading, slide },
      moved: (number) => {
        this.#slide = number === null ? null : number + 1;
        this.#remember();
      },
    });
  }
}

const quietButton = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);
