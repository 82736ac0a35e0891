// The figures of About as elements. Knows no request.

import { counted, inLanguage, t } from "../../language.js";
import { el, hundredths, loss, number, short } from "../../ui.js";
import { runsOf } from "./figures.js";

/** What a network wrote at a step of its training. */
export const sampleFigure = ({ step, text }) =>
  el(
    "figure",
    {},
    el("figcaption", {}, counted(step, number(step), "After {n} step", "After {n} steps")),
    el(
      "pre",
      {
        class: "sample-text",
        tabindex: "0",
        role: "group",
        "aria-label": t("Step {step}", { step }),
      },
      text,
    ),
  );

/** A cell on a passage that has what it follows. */
export function cellFigure(model, { title, cells: [best], excerpt, activations }) {
  const query = new URLSearchParams({ model, layer: best.layer, cell: best.cell });
  const about = inLanguage(title);
  const runs = runsOf(excerpt, activations, best.sign);
  return el(
    "figure",
    {},
    el(
      "figcaption",
      {},
      about === title ? capitalised(title) : about,
      el("span", { class: "soft" }, ` ${t("{score} of 1", { score: hundredths(best.score) })}`),
    ),
    el(
      "pre",
      {
        class: "sample-text",
        tabindex: "0",
        role: "group",
        "aria-label": t("A cell: {title}", { title: about }),
      },
      ...runs.map(({ text, level }) => el("span", { class: `level level${level}` }, text)),
    ),
    el("a", { href: `/inside?${query}` }, t("Look at cell {cell} of layer {layer}", best)),
  );
}

const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const COLUMNS = [
  t("Model"),
  t("Has read"),
  t("Weights"),
  t("Bits a character"),
  t("By counting"),
  "",
];

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
        ...COLUMNS.map((title) => el(title ? "th" : "td", { scope: title ? "col" : null }, title)),
      ),
    ),
    el("tbody", {}, ...rows.map(row)),
  );

const row = ({ model, read, parameters, bpc, ngram, words }) =>
  el(
    "tr",
    {},
    el("th", { scope: "row" }, model),
    ...[
      counted(read, short(read), "{n} character", "{n} characters"),
      short(parameters),
      loss(bpc),
      loss(ngram),
    ].map((text) => el("td", {}, text)),
    el("td", { class: "soft" }, words),
  );
