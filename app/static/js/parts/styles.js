// The style of a text, where a model has several: none, one of them, or a mix with a slider for
// each. Knows no model and no form.

import { t } from "../language.js";
import { el, field, select } from "../ui.js";

const NONE = "";
const MIX = "mix";
/** Steps of a slider; weights are shares of their sum. */
const FULL = 100;

/** The weights that a mix names, by style; null where it is not one of these styles. */
export function weightsOf(text, styles) {
  const weights = new Map(styles.map((style) => [style, 0]));
  for (const part of text ? text.split(",") : []) {
    const [style, weight = "1"] = part.split(":");
    const number = Number(weight);
    if (!weights.has(style) || !(number >= 0)) return null;
    weights.set(style, number);
  }
  return weights;
}

/** The mix of weights as the server takes it: a name alone where nothing is mixed. */
export function mixOf(weights) {
  const some = [...weights].filter(([, weight]) => weight > 0);
  if (some.length === 1) return some[0][0];
  return some.map(([style, weight]) => `${style}:${weight}`).join(",");
}

export class StyleChoice {
  #choice = select([], { name: "style" });
  #sliders = el("div", { class: "mix", hidden: true });
  #styles = [];
  #changed;
  /** What was asked for, which sliders cannot show exactly; null once they were moved. */
  #given = null;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    this.#choice.addEventListener("change", () => {
      this.#given = null;
      this.#show();
      changed();
    });
    this.root = el("div", { hidden: true }, field(t("Style"), this.#choice), this.#sliders);
  }

  /** Offers the styles of a model; what is chosen among them stays chosen. */
  offer(styles) {
    if (styles.join() === this.#styles.join()) return;
    const before = this.value;
    this.#styles = styles;
    this.root.hidden = !styles.length;
    this.#choice.replaceChildren(
      new Option(t("what they share"), NONE),
      ...styles.map((style) => new Option(style)),
      new Option(t("a mix …"), MIX),
    );
    this.#sliders.replaceChildren(...styles.map((style) => this.#slider(style)));
    this.value = before;
  }

  /** The mix as the server takes it; empty for none. */
  get value() {
    if (this.#given !== null) return this.#given;
    if (this.#choice.value !== MIX) return this.#choice.value;
    const values = [...this.#sliders.querySelectorAll("input")].map(({ value }) => Number(value));
    return mixOf(new Map(this.#styles.map((style, i) => [style, values[i]])));
  }

  /** Chooses a mix; one that the model does not have is none. */
  set value(text) {
    const known = weightsOf(text, this.#styles);
    this.#given = known && text;
    const weights = known ?? new Map();
    const values = this.#styles.map((style) => weights.get(style) ?? 0);
    const total = values.reduce((a, b) => a + b, 0);
    const some = values.filter((value) => value > 0).length;
    const only = this.#styles[values.findIndex((value) => value > 0)];
    this.#choice.value = some > 1 ? MIX : some ? only : NONE;
    [...this.#sliders.querySelectorAll("input")].forEach((input, i) => {
      const share = total ? values[i] / total : 1 / values.length;
      input.value = Math.round(FULL * share);
    });
    this.#show();
  }

  #slider(style) {
    const range = { min: "0", max: FULL, step: "1", value: "0" };
    const shown = el("output", { class: "value" });
    const label = t("Share of {style}", { style });
    const input = el("input", { type: "range", "aria-label": label, ...range });
    input.addEventListener("input", () => {
      this.#given = null;
      this.#tell();
    });
    input.addEventListener("change", () => this.#changed());
    return el("div", {}, el("span", {}, style), input, shown);
  }

  #show() {
    this.#sliders.hidden = this.#choice.value !== MIX;
    this.#tell();
  }

  /** Shows what share of the whole each slider is. */
  #tell() {
    const rows = [...this.#sliders.children];
    const values = rows.map((row) => Number(row.querySelector("input").value));
    const total = values.reduce((a, b) => a + b, 0);
    rows.forEach((row, i) => {
      const share = total ? Math.round((100 * values[i]) / total) : 0;
      row.querySelector("output").textContent = `${share} %`;
      row.querySelector("input").setAttribute("aria-valuetext", `${share} %`);
    });
  }
}
