// The kinds of picture, and the choice between them. Knows no text.

import { t } from "../../language.js";
import { el } from "../../ui.js";

const MODES = {
  guesses: [
    t("Guesses"),
    t(
      "Each character in the colour of the cell; below it the five likeliest next ones, the redder the likelier. The one that came is underlined.",
    ),
  ],
  cell: [
    t("One cell"),
    t(
      "The whole text in the colours of one cell: orange with a bar below where it is excited, blue with a bar above where it is quiet.",
    ),
  ],
  surprise: [
    t("Surprise"),
    t("The stronger a character's colour and the thicker its bar, the less it was expected."),
  ],
  weave: [
    t("All cells"),
    t("Every cell is a thread from left to right through the text. Click one."),
  ],
};

export const isMode = (name) => Object.hasOwn(MODES, name);

/** Whether a mode's picture does not show the chosen cell. */
export const hidesCell = (mode) => mode === "surprise" || mode === "weave";

export class Modes {
  legend = el("p", { class: "scale" });
  about = el("p", { class: "hint" });
  #mode;

  /** `chosen` is called with the mode that a person chooses. */
  constructor(mode, chosen) {
    const options = Object.entries(MODES).map(([name, [label]]) => {
      const choose = () => {
        this.mode = name;
        chosen(name);
      };
      const input = { type: "radio", name: "picture", value: name, on: { change: choose } };
      return el("label", {}, el("input", input), el("span", {}, label));
    });
    this.root = el(
      "div",
      { class: "segments", role: "radiogroup", "aria-label": t("Picture") },
      ...options,
    );
    this.mode = mode;
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    this.#mode = mode;
    this.root.querySelector(`[value=${mode}]`).checked = true;
    this.about.textContent = MODES[mode][1];
    this.legend.replaceChildren(
      ...(mode === "surprise"
        ? [t("expected"), el("span", { class: "ramp surprise" }), t("a surprise")]
        : [t("quiet"), el("span", { class: "ramp" }), t("excited")]),
    );
  }
}
