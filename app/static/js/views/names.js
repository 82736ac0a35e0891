// Names: the widget with controls for everything it can do, and the HTML that embeds it elsewhere.

import { authorization, list } from "../api.js";
import { MAX_NAME_LENGTH, MAX_NAMES } from "../limits.js";
import { StyleChoice } from "../parts/styles.js";
import { SERVER } from "../root.js";
import { copy, count, el, field, heading, select } from "../ui.js";
import { lists, snippet } from "./names/embedding.js";
import "../../../../widget/charloom-names.js";

/** The pause in typing after which new names are drawn. */
const SETTLE_MILLISECONDS = 350;

export const create = () => new Names();

class Names {
  #model = select([], { name: "model" });
  #styles = new Map();
  #style = new StyleChoice(() => this.#changed());
  #startsWith = el("input", {
    name: "starts-with",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "40",
    placeholder: "anything",
  });
  #shortest = lengthInput("min-length");
  #longest = lengthInput("max-length");
  #amount = el("input", { name: "count", type: "number", min: "1", max: MAX_NAMES, value: "24" });
  #temperature = el("input", {
    name: "temperature",
    type: "range",
    min: "0.1",
    max: "2",
    step: "0.05",
    value: "0.8",
  });
  #shownTemperature = el("output", { class: "value" });
  #novel = el("input", { name: "novel", type: "checkbox", role: "switch", checked: true });
  #controls;
  #widget = document.createElement("charloom-names");
  #found = el("p", { class: "facts", role: "status" });
  #code = el("code");
  #empty = el(
    "p",
    { class: "message note", hidden: true },
    "No model has been trained on a list yet. ",
    el("a", { href: "/train" }, "Train one on names, one per line."),
  );
  #timer = 0;
  #wasDrawn = false;

  constructor() {
    this.#controls = this.#form();
    this.#widget.setAttribute("manual", "");
    this.#widget.addEventListener("charloom-done", ({ detail: { names } }) => {
      this.#found.textContent = names.length ? count(names.length, "name") : "";
    });
    this.#widget.addEventListener("charloom-error", () => {
      this.#found.textContent = "";
    });
    const lead =
      "A network that has read a list of names makes up more like them: for a novel, a game, a cat.";
    const card = { class: "card", "aria-label": "The names" };
    const page = el("section", card, this.#widget, this.#found);
    this.root = el(
      "div",
      { class: "view" },
      heading("Names that nobody has", lead),
      this.#empty,
      el("div", { class: "write" }, el("div", { class: "names-page" }, page), this.#controls),
      this.#embedding(),
    );
  }

  #form() {
    const on = {
      input: () => this.#changed(),
      submit: (event) => {
        event.preventDefault();
        this.#draw();
      },
    };
    return el(
      "form",
      { class: "rail", "aria-label": "Which names", on },
      el(
        "div",
        { class: "stack" },
        field("Model", this.#model),
        this.#style.root,
        field("Starts with", this.#startsWith),
      ),
      field("Temperature", this.#temperature, { side: this.#shownTemperature }),
      el(
        "div",
        { class: "trio" },
        field("Shortest", this.#shortest),
        field("Longest", this.#longest),
        field("How many", this.#amount),
      ),
      el("label", { class: "switch" }, this.#novel, el("span", {}, "Only new ones")),
    );
  }

  #embedding() {
    const button = el("button", { type: "button", class: "quiet" }, "Copy");
    button.addEventListener("click", () => copy(this.#code.textContent, button));
    const lead = "Two lines of HTML, no library. It adopts the colours and fonts of your page.";
    const label = { tabindex: "0", role: "region", "aria-label": "HTML to embed the names" };
    return el(
      "section",
      { class: "embed", "aria-labelledby": "embed-title" },
      el(
        "div",
        { class: "title-line" },
        el("h2", { id: "embed-title" }, "Put it on your own page"),
        button,
      ),
      el("p", { class: "soft" }, lead),
      el("pre", label, this.#code),
      el(
        "p",
        { class: "soft" },
        "No server where your page is? ",
        el("a", { href: "/models" }, "Save the model as a page"),
        ", put the file and the script beside yours, and name it: ",
        el("code", {}, '<charloom-names src="names.html">'),
        ".",
      ),
    );
  }

  show() {
    void this.#show();
  }

  async #show() {
    const models = lists(await list("/models", "models"));
    const before = this.#model.value;
    this.#model.replaceChildren(...models.map(({ model }) => new Option(model)));
    if (models.some(({ model }) => model === before)) this.#model.value = before;
    this.#styles = new Map(models.map(({ model, styles }) => [model, styles ?? []]));
    this.#empty.hidden = models.length > 0;
    this.#describe();
    if (models.length && !this.#wasDrawn) {
      this.#wasDrawn = true;
      this.#draw();
    }
  }

  /** The widget's attributes as the controls are set; null is none. */
  #attributes() {
    return {
      model: this.#model.value || null,
      "in-style": this.#style.value || null,
      temperature: this.#temperature.value,
      "starts-with": this.#startsWith.value.trim() || null,
      "min-length": this.#shortest.value || null,
      "max-length": this.#longest.value || null,
      count: this.#amount.value || null,
      novel: this.#novel.checked || null,
    };
  }

  /** Shows the settings in numbers and as HTML. */
  #describe() {
    this.#style.offer(this.#styles.get(this.#model.value) ?? []);
    this.#shownTemperature.textContent = Number(this.#temperature.value).toFixed(2);
    const given = Object.entries(this.#attributes()).filter(([, value]) => value !== null);
    this.#code.textContent = snippet(SERVER, given);
  }

  #changed() {
    this.#describe();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#draw(), SETTLE_MILLISECONDS);
  }

  #draw() {
    clearTimeout(this.#timer);
    if (!this.#controls.reportValidity()) return;
    for (const [name, value] of Object.entries(this.#attributes()))
      if (value === null) this.#widget.removeAttribute(name);
      else this.#widget.setAttribute(name, value === true ? "" : value);
    this.#widget.headers = authorization();
    this.#widget.draw();
  }
}

const lengthInput = (name) =>
  el("input", { name, type: "number", min: "1", max: MAX_NAME_LENGTH, placeholder: "any" });
