// The figures of About as elements. Knows no request.

import { el, hundredths, loss, number, short } from "../../ui.js";
import { runsOf } from "./figures.js";

/** What a network wrote at a step of its training. */
export const sampleFigure = ({ step, text }) =>
  el(
    "figure",
    {},
    el("figcaption", {}, `After ${number(step)} steps`),
    el(
      "pre",
      { class: "sample-text", tabindex: "0", role: "group", "aria-label": `Step ${step}` },
      text,
    ),
  );

/** A cell on a passage that has what it follows. */
export function cellFigure(model, { title, cells: [best], excerpt, activations }) {
  const query = new URLSearchParams({ model, layer: best.layer, cell: best.cell });
  const runs = runsOf(excerpt, activations, best.sign);
  return el(
    "figure",
    {},
    el(
      "figcaption",
      {},
      capitalised(title),
      el("span", { class: "soft" }, ` ${hundredths(best.score)} of 1`),
    ),
    el(
      "pre",
      { class: "sample-text", tabindex: "0", role: "group", "aria-label": `A cell: ${title}` },
      ...runs.map(({ text, level }) => el("span", { class: `level level${level}` }, text)),
    ),
    el("a", { href: `/inside?${query}` }, `Look at cell ${best.cell} of layer ${best.layer}`),
  );
}

const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const figuresTable = (rows) =>
  el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ...["Model", "Has read", "Weights", "Bits a character", "By counting", ""].map((title) =>
          el(title ? "th" : "td", { scope: title ? "col" : null }, title),
        ),
      ),
    ),
    el("tbody", {}, ...rows.map(row)),
  );

const row = ({ model, read, parameters, bpc, ngram, words }) =>
  el(
    "tr",
    {},
    el("th", { scope: "row" }, model),
    ...[`${short(read)} characters`, short(parameters), loss(bpc), loss(ngram)].map((text) =>
      el("td", {}, text),
    ),
    el("td", { class: "soft" }, words),
  );
