// The form of Write: a model, a prime, temperatures, and whatever else decides a text. Knows no
// sheet and no URL.

import { t } from "../../language.js";
import { MAX_LENGTH } from "../../limits.js";
import { clearErrors, el, field, foldedOnPhones, message, select, showErrors } from "../../ui.js";
import { COMPARED, DEFAULTS, MAX_TEMPERATURE } from "./link.js";

export class WritingForm {
  #model = select([], { name: "model" });
  #styles = new Map();
  /** What chooses a style, fetched for the first model that has some; and the style until then. */
  #choice = null;
  #style = "";
  #stylePlace = el("div", { hidden: true });
  #handlers;
  #prime = primeField();
  #temperature = new Temperature(t("Temperature"), "temperature", DEFAULTS.temperature);
  #other = new Temperature(t("and"), "other", COMPARED);
  #otherPlace = el("div", { hidden: true }, this.#other.root);
  #length = lengthField();
  #seed = seedField();
  #compare = el("input", { type: "checkbox", name: "compare", role: "switch" });
  #play = el("button", { class: "primary wide" }, t("Write"));
  #said = message();
  /** Buttons that mend what is wrong with the prime. */
  #mends = el("div", { class: "actions mends", hidden: true });
  /** Whether somebody typed into the prime since it was last written. */
  isTyped = false;

  /**
   * @param {{submitted: () => void, changed: () => void, compared: () => void}} handlers
   *   `changed({isModel})` follows a new model or temperature, `compared` a second temperature that
   *   comes or goes
   */
  constructor({ submitted, changed, compared }) {
    this.#handlers = { changed };
    this.root = el(
      "form",
      { class: "rail", "aria-label": t("Settings"), on: { submit } },
      field(t("Model"), this.#model),
      this.#stylePlace,
      field(t("Begins with"), this.#prime, { name: "prime" }),
      this.#mends,
      this.#temperature.root,
      this.#otherPlace,
      this.#more(),
      this.#play,
      this.#said.place,
    );
    function submit(event) {
      event.preventDefault();
      submitted();
    }
    this.#prime.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.root.requestSubmit();
    });
    this.#prime.addEventListener("input", () => {
      this.isTyped = true;
    });
    this.#compare.addEventListener("change", () => {
      this.#otherPlace.hidden = !this.#compare.checked;
      compared();
    });
    for (const { control } of [this.#temperature, this.#other])
      control.addEventListener("change", () => changed({ isModel: false }));
    this.#model.addEventListener("change", () => {
      this.#offerStyles();
      changed({ isModel: true });
    });
  }

  #offerStyles() {
    const styles = this.#styles.get(this.#model.value) ?? [];
    this.#stylePlace.hidden = !styles.length;
    if (this.#choice) this.#choice.offer(styles);
    else if (styles.length) void this.#fetchStyles();
    else this.#style = "";
  }

  async #fetchStyles() {
    const { StyleChoice } = await import("../../parts/styles.js");
    if (this.#choice) return;
    this.#choice = new StyleChoice(() => this.#handlers.changed({ isModel: false }));
    this.#stylePlace.replaceChildren(this.#choice.root);
    this.#offerStyles();
    this.#choice.value = this.#style;
  }

  get style() {
    return this.#choice ? this.#choice.value : this.#style;
  }

  set style(style) {
    // A model without styles has none, whatever a link says.
    this.#style = this.#styles.get(this.#model.value)?.length ? style : "";
    if (this.#choice) this.#choice.value = style;
  }

  /** Folded on a phone, to keep the text in sight. */
  #more() {
    const more = el(
      "details",
      { class: "more" },
      el("summary", {}, t("More")),
      el(
        "label",
        { class: "switch" },
        this.#compare,
        el("span", {}, t("Compare two temperatures")),
      ),
      el("div", { class: "pair" }, field(t("Length"), this.#length), field(t("Seed"), this.#seed)),
    );
    foldedOnPhones(more);
    return more;
  }

  /** The settings; `seed` is null for a random one, `compare` for a single text, `style` for none. */
  get settings() {
    return {
      model: this.#model.value,
      style: this.style || null,
      prime: this.#prime.value,
      temperature: this.#temperature.value,
      length: Number(this.#length.value),
      seed: this.#seed.value.trim() || null,
      compare: this.comparison,
    };
  }

  /** Fills the form, but for the seed: the next text is a new one. */
  fill({ model, style, prime, temperature, length = null, compare = null }) {
    if (model) {
      if (![...this.#model.options].some((option) => option.value === model))
        this.#model.append(new Option(model));
      this.#model.value = model;
    }
    this.#offerStyles();
    this.style = style ?? "";
    this.#temperature.value = temperature;
    if (length) this.#length.value = length;
    this.comparison = compare;
    this.prime = prime;
  }

  /** Shows the settings of a text that is there; what somebody is typing stays. */
  follow(settings) {
    this.fill({ ...settings, prime: this.isTyped ? this.#prime.value : settings.prime });
  }

  /** The second temperature; null for none. */
  get comparison() {
    return this.#compare.checked ? this.#other.value : null;
  }

  set comparison(temperature) {
    this.#compare.checked = temperature !== null;
    this.#other.value = temperature ?? this.#other.value;
    this.#otherPlace.hidden = temperature === null;
  }

  set prime(text) {
    if (this.#prime.value === text) return;
    this.#prime.value = text;
    this.#prime.scrollTop = this.#prime.scrollHeight;
  }

  /** The prime was written: what is typed from now on is new. */
  taken() {
    this.isTyped = false;
  }

  /** Offers models; a chosen one among them stays chosen. */
  offer(models, favourite) {
    const chosen = this.#model.value;
    const names = models.map(({ model }) => model);
    this.#styles = new Map(models.map(({ model, styles }) => [model, styles ?? []]));
    this.#model.replaceChildren(...names.map((name) => new Option(name)));
    this.#model.value = names.includes(chosen) ? chosen : favourite;
    this.#offerStyles();
  }

  /** Turns the button into one that stops, or starts, writing. */
  showWriting(isWriting) {
    this.#play.textContent = isWriting ? t("Stop") : t("Write");
    this.#play.classList.toggle("stop", isWriting);
  }

  /**
   * Shows a problem at the fields that it names, or below the form.
   *
   * @param {Element[]} mends buttons that mend it
   */
  refuse(problem, mends = []) {
    this.#mends.replaceChildren(...mends);
    this.#mends.hidden = true;
    if (showErrors(this.root, problem)) this.#mends.hidden = !mends.length;
    else this.#said.say(problem.message, "problem", ...mends);
  }

  clear() {
    clearErrors(this.root);
    this.#mends.hidden = true;
    this.#said.clear();
  }
}

/** A slider with its value beside it, as a number and a word. */
class Temperature {
  #shown = el("output", { class: "value" });

  constructor(label, name, value) {
    const range = { min: "0", max: MAX_TEMPERATURE, step: "0.05" };
    this.control = el("input", { type: "range", name, ...range, value });
    this.control.addEventListener("input", () => this.#show());
    this.#show();
    this.root = field(label, this.control, { side: this.#shown, name: "temperature" });
  }

  get value() {
    return Number(this.control.value);
  }

  set value(value) {
    this.control.value = value;
    this.#show();
  }

  #show() {
    this.#shown.textContent = `${this.value.toFixed(2)} ${mood(this.value)}`;
    this.control.setAttribute("aria-valuetext", this.#shown.textContent);
  }
}

/** A word for what a temperature does to a text. */
export function mood(temperature) {
  if (temperature === 0) return t("always the likeliest");
  if (temperature < 0.45) return t("careful");
  if (temperature < 0.85) return t("steady");
  if (temperature <= 1.1) return t("as it learned");
  if (temperature <= 1.5) return t("bold");
  return t("wild");
}

function primeField() {
  return el("textarea", {
    name: "prime",
    rows: "3",
    spellcheck: "false",
    autocapitalize: "off",
    placeholder: t("Anything, or nothing"),
  });
}

function lengthField() {
  return el("input", {
    name: "length",
    type: "number",
    min: "1",
    max: MAX_LENGTH,
    step: "1",
    value: DEFAULTS.length,
    required: true,
    inputmode: "numeric",
  });
}

function seedField() {
  return el("input", {
    name: "seed",
    inputmode: "numeric",
    pattern: "[0-9]{1,15}",
    title: t("up to 15 digits"),
    autocomplete: "off",
    placeholder: t("random"),
  });
}
