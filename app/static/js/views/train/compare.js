// Runs beside each other, live: their losses in one chart, and a table of what they reached and how
// their options differ. All that is chosen stands in the address.

import { get, list } from "../../api.js";
import { counted, t, woven } from "../../language.js";
import { Chart, SECONDS, STEPS } from "../../parts/chart.js";
import { LABELS } from "../../parts/options/schema.js";
import { isEnded } from "../../parts/progress.js";
import { el, heading, message, number } from "../../ui.js";
import { Connections, follow } from "../job/following.js";
import { Record } from "../job/record.js";
import {
  addressOf,
  differing,
  firstChoice,
  levelsOf,
  MOST,
  namesOf,
  sortedRuns,
  wanted,
} from "./compare/runs.js";
import { tableOf } from "./compare/table.js";

/** Milliseconds between two looks at the jobs. */
const POLL = 3000;
const MOST_JOBS = 100;
/** Of the six connections that a browser has for all of its tabs. */
const CONNECTIONS = 3;

export class ComparePage {
  title = t("Compare");
  #go;
  #chosen = wanted(new URLSearchParams());
  #jobs = [];
  /** What is followed, by id: a record, and what ends it. */
  #followed = new Map();
  #connections = new Connections(CONNECTIONS);
  /** Runs of the address that were deleted. */
  #gone = 0;
  #timer = 0;
  #frame = 0;
  #isShown = false;
  #chart = new Chart(t("Losses of the runs that are compared"));
  #by = segments(t("Against"), "by", { steps: t("Steps"), seconds: t("Time") }, (by) =>
    this.#change({ by }),
  );
  #loss = segments(
    t("Loss"),
    "loss",
    { validation: t("Validation"), training: t("Training") },
    (loss) => this.#change({ loss }),
  );
  #said = message();
  #remark = el("p", { class: "soft", hidden: true }, DIFFERENT_TEXTS);
  #none = el(
    "p",
    { class: "soft", hidden: true },
    ...woven("No jobs yet. {train}, and then another one with other options.", {
      train: el("a", { href: "/train" }, t("Train a network")),
    }),
  );
  #table = el("div", {
    class: "runs",
    tabindex: "0",
    role: "region",
    "aria-label": t("Runs"),
  });

  constructor({ go }) {
    this.#go = go;
    const lead = t(
      "Choose up to {most} runs. The address keeps your choice, so you can share it.",
      {
        most: MOST,
      },
    );
    this.root = el(
      "div",
      { class: "compare-page" },
      el("p", {}, el("a", { href: "/train" }, t("All jobs"))),
      heading(t("Compare runs"), lead),
      this.#said.place,
      el("div", { class: "compare-by" }, this.#by.root, this.#loss.root),
      el("section", { class: "card", "aria-label": t("Losses") }, this.#chart.root, this.#remark),
      this.#none,
      this.#table,
    );
  }

  show(address) {
    this.#isShown = true;
    this.#chosen = wanted(address.searchParams);
    this.#gone = 0;
    this.#by.choose(this.#chosen.by);
    this.#loss.choose(this.#chosen.loss);
    void this.#refresh();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
    for (const { following } of this.#followed.values()) following?.abort();
    this.#followed.clear();
  }

  // Loading

  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const newest = await list("/jobs", "jobs", MOST_JOBS);
      this.#jobs = [...newest, ...(await this.#older(newest))];
      // Nothing where all are there.
      this.#said.say(this.#gone ? goneOf(this.#gone) : "");
      this.#none.hidden = this.#jobs.length > 0;
      this.#chosen.jobs ??= firstChoice(this.#jobs);
      this.#follow();
      this.#drawTable();
      this.#drawSoon();
    } catch (error) {
      this.#said.say(error.message, "problem");
    }
    if (this.#isShown && !(this.#jobs.length && this.#jobs.every(isEnded)))
      this.#timer = setTimeout(() => this.#refresh(), POLL);
  }

  /** The runs of the address that are not among these jobs; those that are gone are said to be. */
  async #older(jobs) {
    const known = new Set(jobs.map(({ id }) => id));
    const wanted = (this.#chosen.jobs ?? []).filter((id) => !known.has(id));
    const gone = new Set();
    const found = await Promise.all(
      wanted.map((id) =>
        get(`/jobs/${id}`).catch((error) => {
          if (error.status !== 404) throw error;
          gone.add(id);
        }),
      ),
    );
    this.#gone += gone.size;
    this.#chosen.jobs = this.#chosen.jobs?.filter((id) => !gone.has(id)) ?? null;
    return found.filter(Boolean);
  }

  get #compared() {
    const byId = new Map(this.#jobs.map((job) => [job.id, job]));
    return (this.#chosen.jobs ?? []).map((id) => byId.get(id)).filter(Boolean);
  }

  /** Follows what is compared, once it has begun, and nothing else. */
  #follow() {
    const compared = new Map(this.#compared.map((job) => [job.id, job]));
    for (const [id, { following }] of this.#followed) {
      if (compared.has(id)) continue;
      following.abort();
      this.#followed.delete(id);
    }
    for (const job of compared.values()) {
      const known = this.#followed.get(job.id);
      // A job that was resumed has more to tell; one that waits would only hold a connection.
      const isOver = known?.isOver && isEnded(job);
      if (isOver || (known && !known.isOver) || job.status === "queued") continue;
      this.#followOne(job.id, known?.record ?? new Record());
    }
  }

  async #followOne(id, record) {
    const following = new AbortController();
    const entry = { record, following, isOver: false };
    this.#followed.set(id, entry);
    const path = `/jobs/${id}`;
    await follow(
      path,
      following.signal,
      {
        refresh: () => get(path),
        lastId: () => record.lastId,
        happened: (event) => {
          record.add(event);
          this.#drawSoon();
        },
        connected: () => {},
        away: () => {},
        refused: () => {},
      },
      this.#connections,
    );
    entry.isOver = true;
  }

  // Choosing

  #change(change) {
    Object.assign(this.#chosen, change);
    this.#go(addressOf(this.#chosen), { replace: true, quietly: true });
    this.#follow();
    this.#drawTable();
    this.#drawSoon();
  }

  #compare(id, isWanted) {
    const others = this.#compared.map((job) => job.id).filter((other) => other !== id);
    this.#change({ jobs: isWanted ? [...others, id] : others });
  }

  #sort(key) {
    const { sort, isReversed } = this.#chosen;
    this.#change({ sort: key, isReversed: key === sort && !isReversed });
  }

  // Drawing

  #drawTable() {
    const compared = this.#compared;
    const all = this.#jobs;
    this.#table.hidden = !all.length;
    this.#remark.hidden = new Set(compared.map((job) => job.corpus_id)).size < 2;
    const focused = focusedIn(this.#table);
    const table = tableOf(
      sortedRuns(all, this.#chosen),
      {
        compared: compared.map(({ id }) => id),
        names: namesOf(all),
        options: differing(compared.length > 1 ? compared : all),
        labelOf: (option) => LABELS[option] ?? option,
        order: this.#chosen,
        isFull: compared.length >= MOST,
      },
      {
        sort: (key) => this.#sort(key),
        compare: (id, isWanted) => this.#compare(id, isWanted),
      },
    );
    this.#table.replaceChildren(table);
    focused?.(this.#table);
  }

  #drawSoon() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawChart());
  }

  #drawChart() {
    this.#frame = 0;
    const { by, loss } = this.#chosen;
    const compared = this.#compared;
    const names = namesOf(this.#jobs);
    const series = compared.map(({ id }, place) => {
      const record = this.#followed.get(id)?.record;
      const points = [...(record?.[loss] ?? [])].filter(([, value]) => value !== null);
      return {
        name: names.get(id),
        className: `run-${place}`,
        points: by === "seconds" ? (record?.inSeconds(points) ?? []) : points,
        dots: loss === "validation",
      };
    });
    this.#chart.update(series, levelsOf(compared, names), by === "seconds" ? SECONDS : STEPS);
  }
}

const DIFFERENT_TEXTS = t(
  "These runs read different texts, so their losses do not compare: look at which of them beats its n-gram baseline.",
);

const goneOf = (runs) =>
  counted(
    runs,
    number(runs),
    "Deleted since this address was made: {n} run.",
    "Deleted since this address was made: {n} runs.",
  );

/** A choice of one of several, with its label. */
function segments(label, name, choices, chosen) {
  const inputs = Object.entries(choices).map(([value, text]) =>
    el(
      "label",
      {},
      el("input", { type: "radio", name, value, on: { change: () => chosen(value) } }),
      el("span", {}, text),
    ),
  );
  const root = el(
    "fieldset",
    { class: "times" },
    el("legend", {}, label),
    el("div", { class: "segments" }, ...inputs),
  );
  const choose = (value) => {
    root.querySelector(`[value="${value}"]`).checked = true;
  };
  return { root, choose };
}

/** Gives the focus back to what had it, by its place, once a table is drawn again. */
function focusedIn(root) {
  const all = () => [...root.querySelectorAll("a, button, input")];
  const focused = document.activeElement;
  if (!root.contains(focused) || focused === root) return null;
  const label = focused.getAttribute("aria-label") ?? focused.textContent;
  const same = (one) => (one.getAttribute("aria-label") ?? one.textContent) === label;
  return () => all().find(same)?.focus({ preventScroll: true });
}
