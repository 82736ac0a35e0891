// About: why charloom is, told with what the models of this server do right now.

import { get, Latest, list, request, wasAborted } from "../api.js";
import { t, woven } from "../language.js";
import { pathOf } from "../parts/download.js";
import { el, heading } from "../ui.js";
import { comparisonOf, evolution, finest, subjectsOf } from "./about/figures.js";
import { cellFigure, figuresTable, sampleFigure } from "./about/pieces.js";

const ESSAY = "https://karpathy.github.io/2015/05/21/rnn-effectiveness/";
const LENGTH = 320;
const TEMPERATURE = 0.8;
/** Random seeds are below this, so that they are short. */
const DRAWN_SEEDS = 1_000_000;

export const create = () => new About();

class About {
  #writer = null;
  #writing = new Latest();
  #samples = el("div", { class: "samples" });
  #text = el("pre", {
    class: "sample-text",
    tabindex: "0",
    role: "group",
    "aria-label": t("The text"),
  });
  #more = el("button", { type: "button", on: { click: () => this.#write() } }, t("Another one"));
  #open = el("a", { class: "button quiet", href: "/" }, t("Open it in Write"));
  #cells = el("div", { class: "cells" });
  #figures = el("div", {
    class: "table",
    tabindex: "0",
    role: "group",
    "aria-label": t("Figures of the models"),
  });
  #learning = part(t("It begins with noise"), LEARNING, this.#samples);
  #live = part(
    t("It writes by guessing, one character at a time"),
    LIVE,
    this.#text,
    el("div", { class: "actions" }, this.#more, this.#open),
  );
  #inside = part(t("Nobody tells it what a quote is"), INSIDE, this.#cells);
  #measured = part(t("Is it worth the trouble?"), MEASURED, this.#figures);

  constructor() {
    this.root = el(
      "div",
      { class: "view about-page" },
      heading(t("It only ever guesses the next character"), LEAD),
      essay(),
      this.#learning,
      this.#live,
      this.#inside,
      this.#measured,
      next(),
    );
  }

  show() {
    void this.#show();
  }

  hide() {
    this.#writing.abort();
  }

  async #show() {
    const models = await list("/models", "models");
    const { writer, looker, shown } = subjectsOf(models);
    this.#learning.hidden = this.#live.hidden = !writer;
    this.#inside.hidden = !looker;
    this.#measured.hidden = !shown.length;
    if (!writer) return;
    const isAnother = writer.digest !== this.#writer?.digest;
    this.#writer = writer;
    if (!isAnother) return;
    this.#figures.replaceChildren(figuresTable(shown.map(comparisonOf)));
    await Promise.all([this.#write(), this.#learn(writer), looker && this.#look(looker)]);
  }

  /** What the network wrote while it learned. */
  async #learn(model) {
    const { samples } = await get(`${pathOf(model)}/history?points=3`);
    const chosen = evolution(samples);
    this.#learning.hidden = !chosen.length;
    this.#samples.replaceChildren(...chosen.map(sampleFigure));
  }

  async #look(model) {
    const { hypotheses } = await get(`${pathOf(model)}/cells`);
    const chosen = finest(hypotheses ?? []);
    this.#inside.hidden = !chosen.length;
    this.#cells.replaceChildren(...chosen.map((one) => cellFigure(model.model, one)));
  }

  async #write() {
    const signal = this.#writing.begin();
    const seed = Math.floor(Math.random() * DRAWN_SEEDS);
    const { model } = this.#writer;
    const fields = { model, length: LENGTH, temperature: TEMPERATURE, seed };
    this.#open.setAttribute("href", writeUrl(fields));
    this.#text.textContent = "";
    try {
      const response = await request("/sample", {
        json: fields,
        headers: { Accept: "text/plain" },
        signal,
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#text.append(value);
      }
    } catch (error) {
      if (!wasAborted(error)) throw error;
    }
  }
}

const LEAD = t(
  "In 2015 Andrej Karpathy showed how far that goes, with a small network and any text. charloom is his essay as a service of your own, and everything on this page comes from the models on this server.",
);
const LEARNING = t(
  "At first every character is as likely as any other. Within minutes it has found the letters, then words, then who speaks and where a line ends. Nothing was ever explained to it: this is what it wrote on the way.",
);
const LIVE = t(
  "This text is being written now. The network reads what is there, says how likely each character comes next, and one is drawn; then it reads that one, too.",
);
const INSIDE = t(
  "Some of its cells turn out to follow things that people have names for. These were found in text that it had never read: amber and underlined where the cell is excited, blue where it is quiet.",
);
const MEASURED = t(
  "A table that counts which characters follow which is the oldest way to do this. The fewer bits a model needs for a character, the better it guesses text that it has not read.",
);

const writeUrl = (fields) =>
  `${document.querySelector(".brand").getAttribute("href")}#${new URLSearchParams(fields)}`;

const part = (title, text, ...nodes) =>
  el(
    "section",
    { hidden: true },
    el("h2", {}, title),
    el("p", { class: "told-text" }, text),
    ...nodes,
  );

const essay = () =>
  el(
    "p",
    { class: "told-text" },
    ...woven("Read the essay: {essay}.", {
      essay: el(
        "a",
        { href: ESSAY, rel: "noreferrer", lang: "en" },
        "The Unreasonable Effectiveness of Recurrent Neural Networks",
      ),
    }),
  );

const next = () =>
  el(
    "section",
    {},
    el("h2", {}, t("Now with a text of yours")),
    el(
      "p",
      { class: "told-text" },
      t(
        "Any plain text works: a play, a program, a list of names. The first words appear within seconds, and the text stays on this server.",
      ),
    ),
    el(
      "div",
      { class: "actions" },
      el("a", { class: "button primary", href: "/train" }, t("Train a network")),
      el("a", { class: "button", href: "/" }, t("Write")),
      el("a", { class: "button", href: "/inside" }, t("Look inside")),
    ),
  );
