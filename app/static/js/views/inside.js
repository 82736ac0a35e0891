// Inside: the essay's pictures, for any model and any text. They show a cell's activation at each
// character, the network's guesses, what surprised it, and which cells track something that has a
// name.

import { get, Latest, list, wasAborted, whenReady } from "../api.js";
import { counted, t, woven } from "../language.js";
import { StyleChoice } from "../parts/styles.js";
import { el, field, heading, isNarrow, loss, message, number, select } from "../ui.js";
import { AboutCell } from "./inside/about_cell.js";
import { Findings } from "./inside/findings.js";
import { hidesCell, Modes } from "./inside/modes.js";
import { OwnText } from "./inside/own_text.js";
import { Picker } from "./inside/picker.js";
import { Picture } from "./inside/picture.js";
import { missingFrom, placeOf, urlOf } from "./inside/place.js";
import { Ranking } from "./inside/ranking.js";
import { covers, pathOf } from "./inside/reading.js";
import { FIRST_SEED, ShownText } from "./inside/shown_text.js";

const SEEDS = 1_000_000;
const RAIL = { class: "rail", role: "group", "aria-label": t("Which cell") };
const FIRST = { layer: 0, cell: 0 };
const LEAD = t(
  "Some cells track something that has a name: whether a quote is open, how long a line is, how deep the brackets are. Most keep their secret.",
);

export const create = ({ go }) => new Inside(go);

class Inside {
  #go;
  #models = [];
  #model = null;
  #findings = new Findings();
  #cell = FIRST;
  /** Of what the cell tracks, what was picked. */
  #hypothesis = null;
  /** Whether a person or a link chose the cell. */
  #isChosen = false;
  /** Whether a link names a cell that does not exist: until another is picked, none is shown. */
  #isLost = false;
  /** The slide that is being presented, counted from 1. */
  #slide = null;
  #searching = new Latest();
  #text = new ShownText(() => this.#looked, {
    changed: () => this.#remember(),
    writes: () => this.#said.say(t("Generating …")),
    begins: (text) => this.#begin(text),
    opened: () => this.#opened(),
    more: (block) => covers(block, this.#cell) && this.#draw(),
    failed: (error) => this.#failed(error),
  });

  #said = message();
  #facts = el("p", { class: "facts" });
  #choice = select([], { name: "model", on: { change: () => this.#switch() } });
  #style = new StyleChoice(() => this.#restyle());
  #picker = new Picker((cell) => this.#pick(cell));
  #ranking = new Ranking((cell, hypothesis) => this.#pickRanked(cell, hypothesis));
  #modes = new Modes("guesses", () => {
    this.#draw();
    this.#remember();
  });
  #picture = new Picture((cell) => this.#pick(cell), this.#said);
  #about = new AboutCell(() => this.#style.value);
  #own = new OwnText((text) => this.#text.readOwn(text));
  #unseen = quietButton(t("Unseen text"), () => this.#text.readUnseen((this.#text.turn ?? -1) + 1));
  #generate = quietButton(t("Generate a text"), () =>
    this.#text.readGenerated(Math.floor(Math.random() * SEEDS)),
  );
  #present = el(
    "button",
    { type: "button", hidden: true, on: { click: () => this.#presentCell() } },
    t("Present"),
  );

  constructor(go) {
    this.#go = go;
    this.#unseen.hidden = true;
    const actions = el("div", { class: "actions" }, this.#unseen, this.#generate);
    const page = [
      el("div", { class: "inside-head" }, this.#modes.root, this.#modes.legend, this.#present),
      ...[this.#said.place, this.#picture.root, this.#modes.about],
      el("div", { class: "inside-head" }, this.#facts, actions),
      ...[this.#own.root, this.#about.root],
    ];
    const rail = [field(t("Model"), this.#choice), this.#style.root, ...this.#picker.nodes];
    this.root = el(
      "div",
      { class: "view inside-view" },
      heading(t("Inside a network"), LEAD),
      el(
        "div",
        { class: "write inside" },
        el("div", { class: "inside-page" }, page),
        el("div", RAIL, rail, this.#ranking.root),
      ),
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
      const train = el("a", { href: "/train" }, t("Train one."));
      const [first, ...rest] = woven("No model exists yet. {train}", { train });
      this.#said.say(first, "note", ...rest);
      return;
    }
    const model = await findModel(this.#models, place.model ?? this.#model?.model);
    if (!model && place.model) return this.#lose(place.model);
    if (model && model.model === this.#model?.model && model.digest === this.#model.digest) {
      this.#choice.value = model.model;
      if (place.cell === null || missingFrom(place, model)) return;
      return this.#pick({ layer: place.layer ?? 0, cell: place.cell });
    }
    if (place.mode) this.#modes.mode = place.mode;
    if (place.text) this.#text.own = place.text;
    await this.#open(model ?? this.#models[0], place);
  }

  /** Shows nothing but why there is nothing to show. */
  #lose(name) {
    this.#model = null;
    this.#choice.selectedIndex = -1;
    this.#reset();
    this.#picture.clear();
    this.#facts.textContent = "";
    const words = t("The model “{name}” does not exist on this server. Choose another one.", {
      name,
    });
    this.#said.say(words, "problem");
  }

  #remember() {
    const place = {
      ...{ model: this.#model.model, ...this.#cell, mode: this.#modes.mode },
      ...{ style: this.#style.value, text: this.#text.own, slide: this.#slide },
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
    if (!this.#models.some((one) => one.model === model.model))
      this.#choice.append(new Option(model.model));
    this.#choice.value = model.model;
    this.#picker.fit(model.config);
    this.#style.offer(model.styles ?? []);
    if (place.style) this.#style.value = place.style;
    const missing = missingFrom(place, model);
    this.#isLost = Boolean(missing);
    this.#isChosen = !missing && (place.cell ?? null) !== null;
    this.#cell = missing ? FIRST : { layer: place.layer ?? 0, cell: place.cell ?? 0 };
    this.#reset();
    if (missing) this.#said.say(missing, "problem");
    else if (this.#text.own !== null) this.#text.readOwn(this.#text.own);
    await this.#search(this.#searching.begin());
    if (place.slide && this.#text.reading) this.#presentCell(place.slide - 1);
  }

  #reset() {
    this.#findings = new Findings();
    this.#hypothesis = null;
    this.#ranking.clear();
    this.#unseen.hidden = true;
    this.#present.hidden = true;
    this.#said.clear();
    this.#searching.abort();
    this.#text.leave();
    this.#text.turn = null;
    this.#picture.busy = false;
    this.#draw();
    if (!this.#model) return;
    this.#showCell();
    if (this.#text.own === null || this.#isLost) this.#picture.clear();
  }

  /** Searches the model's cells, and shows unseen text once that is done. */
  async #search(signal) {
    // A first search takes long: meanwhile there is a text to look at.
    let hasText = this.#text.own !== null || this.#isLost;
    const waiting = () => {
      this.#ranking.said.say(
        t("Searching the cells. This happens once for each model and takes a few seconds …"),
      );
      if (!hasText) this.#text.readGenerated(FIRST_SEED);
      hasText = true;
    };
    try {
      const found = await whenReady(`${pathOf(this.#model)}/cells`, { signal, waiting });
      this.#ranking.said.clear();
      this.#findings = new Findings(found);
    } catch (error) {
      if (!wasAborted(error)) this.#ranking.said.say(error.message, "problem");
      return;
    }
    if (!this.#isChosen) this.#cell = this.#findings.best() ?? this.#cell;
    this.#unseen.hidden = !this.#findings.passages.length;
    this.#ranking.show(this.#findings);
    this.#showCell();
    if (!hasText) await this.#text.readUnseen(0);
    else if (!this.#isLost) this.#turnTo(this.#cell);
  }

  // A text

  get #looked() {
    return {
      ...{ model: this.#model, cell: this.#cell, findings: this.#findings },
      ...{ hypothesis: this.#best?.hypothesis ?? null, style: this.#style.value },
    };
  }

  #restyle() {
    this.#remember();
    this.#text.readAgain();
  }

  #begin(text) {
    this.#own.clearErrors();
    this.#own.show(text);
    this.#said.clear();
    this.#picture.busy = true;
    this.#draw();
  }

  #opened() {
    const { reading } = this.#text;
    this.#facts.textContent = facts(reading);
    if (reading.unknown) this.#said.say(leftOut(reading.unknown));
    this.#picture.busy = false;
    this.#present.hidden = false;
    this.#turnTo(this.#cell);
  }

  #failed(error) {
    this.#picture.busy = false;
    if (!this.#own.showErrors(error)) this.#said.say(error.message, "problem");
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
    const wasLost = this.#isLost;
    this.#isLost = false;
    this.#turnTo(cell);
    if (wasLost) this.#text.readUnseen(0);
    this.#remember();
  }

  #pickRanked(cell, hypothesis) {
    const mayChange = !this.#text.isChosen;
    this.#pick(cell, hypothesis);
    // Passages that show what the cell tracks; a text that somebody chose stays.
    if (mayChange) this.#text.readUnseen(0);
    if (isNarrow()) this.#picture.root.scrollIntoView({ block: "nearest" });
  }

  /** Shows a cell, and asks for its activations where they are not here yet. */
  async #turnTo(cell) {
    if (cell !== this.#cell && this.#text.turn !== null) this.#text.turn = -1;
    this.#cell = cell;
    this.#showCell();
    this.#draw();
    const { reading } = this.#text;
    const hypothesis = this.#best?.hypothesis.name;
    if (!reading?.lacks(cell, hypothesis)) return;
    this.#picture.busy = true;
    try {
      await reading.load(cell, hypothesis);
    } catch (error) {
      if (wasAborted(error)) return;
      this.#said.say(error.message, "problem");
    }
    if (reading !== this.#text.reading) return;
    this.#picture.busy = false;
    this.#draw();
  }

  #showCell() {
    this.#picker.show(this.#cell);
    this.#ranking.mark(this.#cell);
    this.#picture.name(this.#cell, this.#findings.tracked(this.#cell), this.#best);
    if (!this.#isLost) this.#about.show(this.#model, this.#cell);
  }

  #draw() {
    this.#picture.draw(this.#modes.mode, this.#text.reading);
  }

  // A class

  async #presentCell(slide = 0) {
    const { turn, reading } = this.#text;
    const { present } = await import("./inside/presenting.js");
    // Meanwhile another text or model may have been chosen.
    if (!reading || this.#text.reading !== reading) return;
    const moved = (number) => {
      this.#slide = number;
      this.#remember();
    };
    await present({ ...this.#looked, best: this.#best, turn, reading, slide, moved });
  }
}

/** A model of this name, or of a name with a tag; undefined if there is none. */
async function findModel(models, name) {
  const listed = models.find(({ model }) => model === name);
  if (listed || !name?.includes(":")) return listed;
  try {
    return { ...(await get(`/models/${encodeURIComponent(name)}`)), model: name };
  } catch (error) {
    if (error.status === 404 || error.status === 422) return undefined;
    throw error;
  }
}

const leftOut = (unknown) =>
  counted(
    unknown,
    number(unknown),
    "Left out {n} character that this model does not know.",
    "Left out {n} characters that this model does not know.",
  );

function facts({ chars, bpc, seams }) {
  const { length } = chars;
  const bits = { bpc: loss(bpc) };
  const read = counted(
    length,
    number(length),
    "{n} character, {bpc} bpc",
    "{n} characters, {bpc} bpc",
    bits,
  );
  if (!seams.size) return read;
  return t("{read}, {n} passages: the network begins anew at each dashed line", {
    read,
    n: number(seams.size + 1),
  });
}

const quietButton = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);
