// The page of a job, live: losses, samples, and the time left.

import { get, post, remove } from "../api.js";
import { isEnglish, t, woven } from "../language.js";
import { Chart } from "../parts/chart.js";
import { contextsSentence } from "../parts/ngram.js";
import { isCancellable, isEnded } from "../parts/progress.js";
import { saying } from "../reported.js";
import { at } from "../root.js";
import { ask, el, field, message } from "../ui.js";
import { follow } from "./job/following.js";
import { Record } from "./job/record.js";
import { Samples } from "./job/samples.js";
import {
  barOf,
  damageOf,
  errorOf,
  figuresOf,
  levelOf,
  sampleHint,
  statusOf,
  titleOf,
  waitingFor,
} from "./job/words.js";

/** Milliseconds between two looks at whether a worker has taken the job, which no event says. */
const POLL = 2000;
/** Other languages have another word for it than for the end of a dialog. */
const CANCEL = isEnglish ? "Cancel" : t("Cancel the job");
const LIMITS = {
  max_seconds: t("Time limit (seconds, in total)"),
  max_epochs: t("Epoch limit"),
  max_steps: t("Step limit"),
};

/** The page of a job. */
export class JobPage {
  #path;
  #go;
  #job = null;
  #record = new Record();
  #planned = "";
  #following = null;
  #frame = 0;
  #timer = 0;
  #title = el("h1", {}, "…");
  #status = el("span", { class: "status" });
  #plan = el("p", { class: "lead" });
  #trouble = message();
  #said = message();
  #bar = el("progress", { max: "1", value: 0, "aria-label": t("Progress") });
  #figures = el("dl", { class: "figures wide" });
  #table = el("p", { class: "soft small" });
  #notices = el("div", { class: "notices" });
  #chart = new Chart(t("Loss over steps"), { pick: (step) => this.#samples.seek(step) });
  #samples = new Samples((step) => this.#chart.mark(step));
  #write = el("a", { class: "button primary", hidden: true }, t("Write"));
  #compare = el("a", { class: "button quiet" }, t("Compare"));
  #cancel = button(CANCEL, "danger", () => this.#act(() => this.#cancelJob()));
  #resume = button(t("Resume"), null, () => this.#act(() => this.#resumeJob()));
  #remove = button(t("Delete"), "quiet", () => this.#act(() => this.#removeJob()));

  constructor(id, { go }) {
    this.#path = `/jobs/${encodeURIComponent(id)}`;
    this.#compare.href = at(`/train/compare?jobs=${encodeURIComponent(id)}`);
    this.#go = go;
    const head = el("div", { class: "title-line" }, this.#title, this.#status);
    this.root = el(
      "div",
      { class: "job-page" },
      el("p", {}, el("a", { href: "/train" }, t("All jobs"))),
      el("div", { class: "view-head" }, head, this.#plan),
      this.#trouble.place,
      this.#said.place,
      this.#bar,
      this.#figures,
      this.#table,
      el(
        "div",
        { class: "actions" },
        ...[this.#write, this.#cancel, this.#resume, this.#compare, this.#remove],
      ),
      this.#notices,
      el("div", { class: "job-body" }, this.#lossCard(), this.#samples.root),
    );
  }

  #lossCard() {
    const hint = t("Nats per character: the lower, the better it guesses.");
    return el(
      "section",
      { class: "card" },
      el("h2", {}, t("Loss")),
      el("p", { class: "hint" }, hint),
      this.#chart.root,
      this.#samples.controls,
    );
  }

  get title() {
    return titleOf(this.#job, this.#progress);
  }

  show() {
    this.#follow();
  }

  hide() {
    this.#following?.abort();
    clearTimeout(this.#timer);
    this.#samples.stop();
  }

  get #progress() {
    return this.#record.progress ?? this.#job?.progress;
  }

  // Following its events

  #follow() {
    this.#following?.abort();
    this.#following = new AbortController();
    void follow(this.#path, this.#following.signal, {
      refresh: () => this.#refresh(),
      lastId: () => this.#record.lastId,
      happened: (event) => this.#happened(event),
      connected: () => this.#trouble.clear(),
      refused: (error) => this.#refused(error),
      away: () =>
        this.#trouble.say(
          t("The server is away. The job is safe; this page continues as soon as it is back."),
          "note",
        ),
    });
  }

  #refused({ status, message }) {
    const isUnknown = status === 404 || status === 422;
    this.#title.textContent = isUnknown ? t("This job does not exist") : t("Job");
    const why = t("Its record was removed, or its model was imported.");
    this.#trouble.say(message, "problem", status === 404 ? ` ${why}` : "");
  }

  #happened(event) {
    const { data, isRestart } = this.#record.add(event);
    if (isRestart) this.#notices.replaceChildren();
    if (event.event === "notice") this.#notice(data);
    if (event.event === "checkpoint" && !this.#table.textContent) this.#describeTable();
    if (this.#isOutdatedBy(event.event, data)) this.#refreshSoon();
    this.#drawSoon();
  }

  /** Whether an event means that the job must be loaded again. */
  #isOutdatedBy(event, { code }) {
    if (this.#job?.status === "queued") return true;
    if (event === "evaluation") return !this.#job?.baseline;
    return event === "end" || code === "baseline";
  }

  #notice({ code, text }) {
    if (code === "plan") {
      this.#planned = text;
      this.#plan.replaceChildren(saying(text));
    } else this.#notices.append(el("p", { class: "message note" }, saying(text)));
  }

  async #refresh() {
    this.#job = await get(this.#path);
    const { error, status, damaged = [] } = this.#job;
    const kind = status === "failed" ? "problem" : "note";
    if (error) this.#said.say(errorOf(error), kind);
    else if (damaged.length) this.#said.say(damageOf(damaged), kind);
    else this.#said.clear();
    this.#drawSoon();
    clearTimeout(this.#timer);
    if (status === "queued" && !this.#following?.signal.aborted)
      this.#timer = setTimeout(() => this.#refreshSoon(), POLL);
    return this.#job;
  }

  /** Refreshes, if the server is there; else it is asked again when it is back. */
  #refreshSoon() {
    this.#refresh().catch(() => {});
  }

  /** Says how large the n-gram table is, which only the model knows: the plan is a limit. */
  async #describeTable() {
    const model = await get(`/models/${encodeURIComponent(this.#job.model)}`).catch(() => null);
    // It may be another job's by now.
    if (model?.job_id === this.#job.id) this.#table.textContent = contextsSentence(model);
  }

  // Drawing

  #drawSoon() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    this.#drawLosses();
    this.#samples.update([...this.#record.samples.values()], sampleHint(this.#job));
    this.#drawFigures(figuresOf(this.#job, this.#progress));
    this.#bar.value = barOf(this.#job, this.#progress);
    if (this.#job) this.#drawJob(this.#job);
  }

  #drawLosses() {
    const { training, validation } = this.#record;
    const baseline = this.#job?.baseline;
    const trained = [...training].filter(([, value]) => value !== null);
    this.#chart.update(
      [
        { name: t("training"), className: "train-line", points: trained },
        { name: t("validation"), className: "val-line", points: [...validation], dots: true },
      ],
      baseline?.val_loss ? [{ name: levelOf(baseline), value: baseline.val_loss }] : [],
    );
  }

  #drawFigures(rows) {
    if (!this.#figures.children.length) {
      const blank = () => el("div", {}, el("dt"), el("dd"), el("dd", { class: "soft" }));
      this.#figures.append(...rows.map(blank));
    }
    const places = this.#figures.querySelectorAll("dt, dd");
    rows.flat().forEach((text, i) => {
      if (places[i].textContent !== text) places[i].textContent = text;
    });
  }

  #drawJob(job) {
    const isOver = isEnded(job);
    // A job whose spec is damaged has no model, and nothing to resume.
    this.#title.textContent = job.model || job.id;
    // Its figures were a forecast; those of the job stand below.
    if (isOver && this.#planned)
      this.#plan.replaceChildren(...woven("Planned: {plan}", { plan: saying(this.#planned) }));
    if (!this.#planned) this.#plan.textContent = waitingFor(job);
    this.#status.className = `status ${job.status}`;
    this.#status.textContent = statusOf(job.status);
    this.#bar.hidden = isOver;
    this.#write.hidden = !this.#record.isPublished || !job.model;
    this.#write.href = `/#${new URLSearchParams({ model: job.model })}`;
    this.#cancel.hidden = !isCancellable(job);
    this.#resume.hidden = !isOver || !job.model;
    this.#remove.hidden = !isOver;
    if (this.root.isConnected) document.title = `${this.title} · charloom`;
  }

  // Actions

  async #act(doing) {
    this.#said.clear();
    try {
      await doing();
    } catch (error) {
      this.#said.say(error.message, "problem");
    }
  }

  async #cancelJob() {
    this.#job = await post(`${this.#path}/cancel`, {});
    this.#draw();
  }

  async #resumeJob() {
    const given = await askForLimits(this.#job);
    if (!given) return;
    this.#job = await post(`${this.#path}/resume`, raisedLimits(given));
    this.#follow();
  }

  async #removeJob() {
    const sure = await ask({
      title: this.#job.model
        ? t("Delete this job for {model}?", { model: this.#job.model })
        : t("Delete this job for a model that is not known?"),
      text: t("This deletes its record and the state that a resume needs. The model stays."),
      confirm: t("Delete"),
      danger: true,
    });
    if (!sure) return;
    await remove(this.#path);
    this.#go("/train", { replace: true });
  }
}

function askForLimits(job) {
  const isFinished = job.status === "finished";
  return ask({
    title: t("Resume from where it stopped"),
    text: isFinished
      ? t("It finished. Raise a limit to train it further.")
      : t("You can raise a limit; an empty field keeps the current one."),
    fields: Object.entries(LIMITS).map(([name, label]) => {
      const placeholder = job.options[name] ?? "";
      return field(
        label,
        el("input", { name, type: "number", min: "1", step: "any", placeholder }),
      );
    }),
    confirm: t("Resume"),
  });
}

const raisedLimits = (given) =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([, value]) => value)
      .map(([name, value]) => [name, Number(value)]),
  );

function button(label, className, click) {
  const properties = { type: "button", class: className, hidden: true, on: { click } };
  return el("button", properties, label);
}
