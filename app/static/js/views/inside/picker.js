// The controls that pick a cell: its layer, its number, and a slider. Knows no model but its size.

import { t } from "../../language.js";
import { el, field, select } from "../../ui.js";

export class Picker {
  #picked;
  #cell = { layer: 0, cell: 0 };
  #layer = select([], { name: "layer", on: { change: () => this.#changed() } });
  #number = el("input", {
    name: "cell",
    type: "number",
    min: "0",
    value: "0",
    on: {
      input: ({ target }) => target.validity.valid && target.value && this.#changed(target.value),
    },
  });
  #slider = el("input", {
    type: "range",
    min: "0",
    value: "0",
    "aria-label": t("Cell"),
    on: { input: ({ target }) => this.#changed(target.value) },
  });

  /** `picked` is called with the cell. */
  constructor(picked) {
    this.#picked = picked;
    this.nodes = [
      el("div", { class: "pair" }, field(t("Layer"), this.#layer), field(t("Cell"), this.#number)),
      this.#slider,
    ];
  }

  /** Offers the cells of a network. */
  fit({ num_layers: layers, hidden_size: size }) {
    const name = (layer) =>
      layer && layer === layers - 1 ? t("{layer} (last)", { layer }) : `${layer}`;
    this.#layer.replaceChildren(
      ...Array.from({ length: layers }, (_, layer) => new Option(name(layer), layer)),
    );
    for (const control of [this.#number, this.#slider]) control.max = size - 1;
  }

  show(cell) {
    this.#cell = cell;
    this.#layer.value = cell.layer;
    if (document.activeElement !== this.#number) this.#number.value = cell.cell;
    this.#slider.value = cell.cell;
  }

  #changed(number = this.#cell.cell) {
    this.#picked({ layer: Number(this.#layer.value), cell: Number(number) });
  }
}
