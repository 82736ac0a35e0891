// The list of jobs, kept up to date while jobs run. Knows no corpus.

import { list } from "../../api.js";
import { t } from "../../language.js";
import { bestOf, isEnded, shareOf } from "../../parts/progress.js";
import { drawn, duration, el, loss, when } from "../../ui.js";
import { statusOf } from "../job/words.js";

/** Milliseconds between two requests. */
const POLL = 3000;
const MOST = 100;

export class Jobs {
  #found;
  #list = el("ul", { class: "jobs" });
  #compare = el("a", { href: "/train/compare", hidden: true }, t("Compare"));
  #none = el("p", { class: "soft" }, t("None yet."));
  #timer = 0;
  #isShown = false;

  /** @param {(jobs: object[]) => void} found gets the jobs after each request */
  constructor(found) {
    this.#found = found;
    this.root = el(
      "section",
      { class: "job-list", "aria-labelledby": "jobs-title" },
      el("div", { class: "title-line" }, el("h2", { id: "jobs-title" }, t("Jobs")), this.#compare),
      this.#none,
      this.#list,
    );
  }

  show() {
    this.#isShown = true;
    this.#refresh();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const jobs = await list("/jobs", "jobs", MOST);
      this.#none.hidden = jobs.length > 0;
      this.#compare.hidden = jobs.length < 2;
      this.#list.replaceChildren(...drawn(jobs, row, plainRow));
      this.#found(jobs);
      if (!jobs.every(isEnded)) this.#refreshIn(POLL);
    } catch (error) {
      this.#none.hidden = false;
      this.#none.textContent = error.message;
      this.#refreshIn(2 * POLL);
    }
  }

  #refreshIn(milliseconds) {
    if (this.#isShown) this.#timer = setTimeout(() => this.#refresh(), milliseconds);
  }
}

/** The row of a job of which more cannot be shown. */
const plainRow = ({ id, model }) =>
  el("li", {}, el("a", { class: "job", href: `/train/${id}` }, el("strong", {}, model || id)));

function row(job) {
  const { progress } = job;
  const best = bestOf(progress);
  const left = !isEnded(job) && progress?.eta_seconds;
  return el(
    "li",
    {},
    el(
      "a",
      { class: "job", href: `/train/${job.id}` },
      el("strong", {}, job.model || job.id),
      el("span", { class: `status ${job.status}` }, statusOf(job.status)),
      el("span", { class: "soft" }, best ? t("loss {loss}", { loss: loss(best) }) : ""),
      el(
        "span",
        { class: "soft" },
        left ? t("{time} left", { time: duration(left) }) : when(job.created_at),
      ),
      isEnded(job)
        ? null
        : el("progress", {
            max: "1",
            value: shareOf(progress, job.options),
            "aria-label": t("Progress"),
          }),
    ),
  );
}
