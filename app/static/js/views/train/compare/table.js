// The table of runs: which are compared, their figures, and the options in which they differ. Knows
// no request.

import { t } from "../../../language.js";
import { verdict } from "../../../parts/ngram.js";
import { bestOf } from "../../../parts/progress.js";
import { drawn, duration, el, loss, number, short, when } from "../../../ui.js";
import { statusOf } from "../../job/words.js";
import { directionOf, optionOf } from "./runs.js";

const NONE = "–";

const RESULTS = [
  ["model", t("Run")],
  ["loss", t("Validation loss")],
  ["ngram", t("n-gram baseline")],
];
const COURSE = [
  ["step", t("Steps")],
  ["time", t("Training time")],
  ["speed", t("Characters per second")],
  ["created", t("Created")],
];

/**
 * The table as an element.
 *
 * @param {object[]} jobs in the order in which they are shown
 * @param {object} shown
 * @param {string[]} shown.compared ids, in the order of their lines
 * @param {Map<string, string>} shown.names
 * @param {string[]} shown.options names of the options that are shown
 * @param {(option: string) => string} shown.labelOf
 * @param {{sort: string, isReversed: boolean}} shown.order
 * @param {boolean} shown.isFull whether no more runs can be compared
 * @param {object} actions `sort` gets the key of a column, `compare` an id and whether it is wanted
 */
export function tableOf(jobs, shown, actions) {
  const options = shown.options.map((option) => [option, shown.labelOf(option)]);
  const columns = [...RESULTS, ...options, ...COURSE];
  const head = columns.map(([key, label]) => headOf(key, label, shown.order, actions));
  const rows = drawn(
    jobs,
    (job) => rowOf(job, shown, actions),
    ({ id }) => el("tr", {}, el("th", { scope: "row" }, el("a", { href: `/train/${id}` }, id))),
  );
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

function headOf(key, label, order, { sort }) {
  const button = el("button", { type: "button", on: { click: () => sort(key) } }, label);
  return el("th", { scope: "col", "aria-sort": directionOf(key, order) }, button);
}

function rowOf(job, { compared, names, options, isFull }, { compare }) {
  const { id, status, progress, baseline } = job;
  const place = compared.indexOf(id);
  const best = bestOf(progress);
  const result = verdict(best, baseline?.val_loss, baseline?.ngram_order);
  const box = el("input", {
    type: "checkbox",
    checked: place >= 0,
    disabled: isFull && place < 0,
    "aria-label": t("Compare {run}", { run: names.get(id) }),
    on: { change: ({ target }) => compare(id, target.checked) },
  });
  const key = el("span", { class: place < 0 ? "key" : `key run-${place}` });
  const run = el(
    "th",
    { scope: "row" },
    el(
      "div",
      { class: "run" },
      el("label", {}, box, key),
      el(
        "div",
        {},
        el("a", { href: `/train/${id}` }, names.get(id)),
        el("span", { class: `status ${status}` }, statusOf(status)),
      ),
    ),
  );
  return el(
    "tr",
    { class: place < 0 ? null : "compared" },
    run,
    cell(loss(best), best ? t("{bits} bpc", { bits: loss(best / Math.LN2) }) : ""),
    cell(loss(baseline?.val_loss), result?.words ?? ""),
    ...options.map((option) => cell(shownValue(optionOf(job, option)))),
    cell(number(progress?.step)),
    cell(duration(progress?.elapsed_seconds)),
    cell(short(progress?.chars_per_second)),
    el("td", {}, when(job.created_at)),
  );
}

const cell = (value, remark = "") =>
  el("td", {}, value, remark && el("span", { class: "soft small" }, remark));

const shownValue = (value) => (value === null ? NONE : String(value));
