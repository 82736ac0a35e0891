// Runs beside each other: which are compared, what they are called, where their options differ, how
// they are sorted, and the address that says all of it. Knows no element and no request.

import { t } from "../../../language.js";
import { bestOf } from "../../../parts/progress.js";
import { levelOf } from "../../job/words.js";

/** Runs that are compared at most: no more lines can be told apart. */
export const MOST = 6;

const ID = /^[0-9a-f]{22}$/;

/** The figures of a run by which a table is sorted; nothing where one is not known. */
export const FIGURES = {
  created: ({ created_at: at }) => at,
  model: ({ model }) => model,
  loss: ({ progress }) => bestOf(progress),
  ngram: ({ baseline }) => baseline?.val_loss,
  step: ({ progress }) => progress?.step,
  time: ({ progress }) => progress?.elapsed_seconds,
  speed: ({ progress }) => progress?.chars_per_second,
};

/** Figures of which more is better, or newer: a table shows the greatest first. */
const GREATEST_FIRST = new Set(["created", "step", "time", "speed"]);

/** What an address says: `{jobs, by, loss, sort, isReversed}`; `jobs` is null where it names none. */
export function wanted(query) {
  const jobs =
    query
      .get("jobs")
      ?.split(",")
      .filter((id) => ID.test(id)) ?? null;
  const sort = query.get("sort") ?? "created";
  return {
    jobs: jobs && [...new Set(jobs)].slice(0, MOST),
    by: query.get("by") === "seconds" ? "seconds" : "steps",
    loss: query.get("loss") === "training" ? "training" : "validation",
    sort: sort.replace(/^-/, ""),
    isReversed: sort.startsWith("-"),
  };
}

/** The address that `wanted` understands. */
export function addressOf({ jobs, by, loss, sort, isReversed }) {
  const query = [
    jobs && `jobs=${jobs.join(",")}`,
    by !== "steps" && `by=${by}`,
    loss !== "validation" && `loss=${loss}`,
    (sort !== "created" || isReversed) &&
      `sort=${isReversed ? "-" : ""}${encodeURIComponent(sort)}`,
  ].filter(Boolean);
  return `/train/compare${query.length ? `?${query.join("&")}` : ""}`;
}

/** The runs to begin with: the newest that has begun, and others of the same text. */
export function firstChoice(jobs) {
  const begun = jobs.filter(({ progress }) => progress);
  const [newest] = begun.length ? begun : jobs;
  return jobs
    .filter((job) => job === newest || (job.progress && job.corpus_id === newest.corpus_id))
    .slice(0, 3)
    .map(({ id }) => id);
}

/** The name of each run by id: its model's, and the end of its id where that is not enough. */
export function namesOf(jobs) {
  const many = new Map();
  for (const { model } of jobs) many.set(model, (many.get(model) ?? 0) + 1);
  return new Map(
    jobs.map(({ id, model }) => {
      const isUnique = model && many.get(model) === 1;
      return [id, isUnique ? model : `${model || "?"} ${id.slice(-4)}`];
    }),
  );
}

const isOne = (value) => value !== null && value !== undefined && value !== "";

/** An option's value as it is compared and shown; null is none. */
export function optionOf({ options }, name) {
  const value = options[name];
  return isOne(value) ? (Array.isArray(value) ? value.join(", ") : value) : null;
}

/** The names of options in which runs differ, sorted. */
export function differing(jobs) {
  const names = new Set(jobs.flatMap(({ options }) => Object.keys(options)));
  return [...names]
    .filter((name) => new Set(jobs.map((job) => optionOf(job, name))).size > 1)
    .sort();
}

/** Runs sorted by a figure or an option; those without a value come last either way. */
export function sortedRuns(jobs, { sort, isReversed }) {
  const of = FIGURES[sort] ?? ((job) => optionOf(job, sort));
  const direction = GREATEST_FIRST.has(sort) !== isReversed ? -1 : 1;
  return [...jobs].sort((one, other) => {
    const [left, right] = [of(one), of(other)];
    const missing = Number(!isOne(left)) - Number(!isOne(right));
    return missing || direction * compared(left, right) || (one.id < other.id ? 1 : -1);
  });
}

function compared(one, other) {
  if (one === other) return 0;
  if (typeof one === typeof other) return one < other ? -1 : 1;
  return String(one) < String(other) ? -1 : 1;
}

/** How a column is sorted, as `aria-sort` has it. */
export function directionOf(key, { sort, isReversed }) {
  if (key !== sort) return "none";
  return GREATEST_FIRST.has(key) !== isReversed ? "descending" : "ascending";
}

/** The n-gram baselines of runs, each once; named after their runs where there are several. */
export function levelsOf(jobs, names) {
  const found = new Map();
  for (const { id, baseline } of jobs) {
    const value = baseline?.val_loss;
    if (!Number.isFinite(value) || found.has(value)) continue;
    found.set(value, { name: levelOf(baseline), id });
  }
  const isOnly = found.size === 1;
  return [...found].map(([value, { name, id }]) => ({
    value,
    name: isOnly ? name : t("{level}, {run}", { level: name, run: names.get(id) }),
  }));
}
