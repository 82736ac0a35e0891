// Train: a form that starts a job, and the list of jobs. Each job has a page of its own (job.js), and
// several are compared on another (train/compare.js).

import { get, post } from "../api.js";
import { t } from "../language.js";
import { MODEL_NAME } from "../limits.js";
import { Options } from "../parts/options.js";
import { within } from "../root.js";
import { clearErrors, el, field, heading, message, showErrors } from "../ui.js";
import { JobPage } from "./job.js";
import { ComparePage } from "./train/compare.js";
import { CorpusField, modelNameOf } from "./train/corpus.js";
import { Gpus } from "./train/gpus.js";
import { Jobs } from "./train/jobs.js";
import { TimeField } from "./train/time.js";

export function create({ go }) {
  const root = el("div", { class: "view" });
  const front = new FrontPage(go);
  let page = null;
  let shownId;
  const pageOf = (id) => {
    if (!id) return front;
    return id === "compare" ? new ComparePage({ go }) : new JobPage(decodeURIComponent(id), { go });
  };

  return {
    root,
    show(address) {
      const [, id] = /^\/train\/([^/]+)$/.exec(within(address.pathname)) ?? [];
      if (!page || shownId !== id) {
        page?.hide();
        shownId = id;
        page = pageOf(id);
        root.replaceChildren(page.root);
      }
      page.show(address);
      return page.title;
    },
    hide() {
      page?.hide();
    },
  };
}

const NAMES = t("Lower-case letters, digits, - and _.");

/** The form and the list. */
class FrontPage {
  title = t("Train");
  #go;
  /** Reused after a lost connection, so that a retry does not start a second job. */
  #key = null;
  #names = new Set();
  #corpus = new CorpusField({
    begun: () => this.#textBegun(),
    examined: (report, filename) => this.#textExamined(report, filename),
    refused: (error) => this.#said.say(error.message, "problem"),
    cleared: () => this.#textCleared(),
    usePreset: (preset) => this.#usePreset(preset),
    useStyles: (styles) => this.#options.set("styles", styles),
  });
  #name = nameField();
  #taken = el("p", { class: "hint", "aria-live": "polite", hidden: true });
  #time = new TimeField();
  #options = new Options();
  #start = el("button", { class: "primary wide", disabled: true }, t("Train"));
  #said = message();
  #form = el(
    "form",
    { class: "train-form", novalidate: true, on: { submit: (event) => this.#submitted(event) } },
    this.#corpus.root,
    el("div", {}, field(t("Name of the model"), this.#name, { hint: NAMES }), this.#taken),
    this.#time.root,
    this.#start,
    this.#said.place,
    this.#options.root,
  );
  #jobs = new Jobs((jobs) => this.#corpus.offerTextsOf(jobs));
  #gpus = new Gpus();

  constructor(go) {
    this.#go = go;
    const lead = t(
      "It reads the text character by character and learns to guess the next one. You can watch.",
    );
    this.root = el(
      "div",
      {},
      heading(t("Train a network on a text"), lead),
      el(
        "div",
        { class: "train" },
        this.#form,
        el("div", { class: "train-side" }, this.#jobs.root, this.#gpus.root),
      ),
    );
    this.#corpus.acceptDropsOn(this.root);
    this.#options.root.addEventListener("change", ({ target }) => {
      if (target.name === "preset" && !["", "auto"].includes(target.value))
        this.#time.leaveToPreset();
    });
    this.#name.addEventListener("input", () => {
      delete this.#name.dataset.guessed;
      this.#examineName();
    });
  }

  show() {
    this.#jobs.show();
    this.#gpus.show();
    this.#learnNames();
  }

  hide() {
    this.#jobs.hide();
    this.#gpus.hide();
  }

  #textBegun() {
    this.#key = null;
    this.#options.set("styles", "");
    this.#start.disabled = true;
    this.#said.clear();
  }

  #textExamined(report, filename) {
    this.#options.set("tokens", report.encoding === "bytes" ? "bytes" : "");
    // One that cannot be read, such as an archive, has no characters; its report says what it is.
    this.#start.disabled = report.characters === null;
    this.#time.about(report.characters === null ? null : report);
    if (this.#name.value && !this.#name.dataset.guessed) return;
    this.#name.value = modelNameOf(filename);
    this.#name.dataset.guessed = "yes";
    this.#examineName();
  }

  /** A preset ends by its own limits. */
  #usePreset(preset) {
    this.#options.set("preset", preset);
    this.#time.leaveToPreset();
  }

  async #learnNames() {
    const { data = [] } = await get("/v1/models").catch(() => ({}));
    this.#names = new Set(data.map(({ id }) => id));
    this.#examineName();
  }

  /** Says at once what is wrong with a name, or what becomes of the model that has it. */
  #examineName() {
    const name = this.#name.value;
    const isBad = name !== "" && !new RegExp(`^(?:${MODEL_NAME})$`).test(name);
    const isTaken = this.#names.has(name);
    this.#taken.hidden = !isBad && !isTaken;
    this.#taken.className = isBad ? "wrong" : "hint";
    this.#taken.textContent = isBad
      ? t("Lower-case letters, digits, - and _. It begins with a letter or a digit.")
      : t("{name} exists: training replaces it, and the old one is kept under the id of its job.", {
          name,
        });
  }

  #textCleared() {
    this.#key = null;
    this.#start.disabled = true;
    this.#time.about(null);
    if (this.#name.dataset.guessed) this.#name.value = "";
    this.#examineName();
  }

  async #submitted(event) {
    event.preventDefault();
    clearErrors(this.#form);
    this.#said.clear();
    if (!this.#corpus.id) return;
    this.#start.disabled = true;
    this.#key ??= randomKey();
    const fields = { model: this.#name.value, corpus_id: this.#corpus.id, ...this.#time.values() };
    const headers = { "Idempotency-Key": this.#key };
    try {
      const job = await post("/train", { ...fields, ...this.#options.values() }, { headers });
      this.#corpus.clear();
      this.#go(`/train/${job.id}`);
    } catch (error) {
      // A proxy that has lost the server cannot say whether the job was made.
      if (error.status && error.status < 500) this.#key = null;
      await this.#options.load();
      this.#refused(error);
    } finally {
      this.#start.disabled = !this.#corpus.id;
    }
  }

  #refused(error) {
    if (showErrors(this.#form, error)) return;
    // The message may name another job, which has the same model.
    const [job] = /\b[0-9a-f]{22}\b/.exec(error.message) ?? [];
    const link = job ? [" ", el("a", { href: `/train/${job}` }, t("View that job."))] : [];
    this.#said.say(error.message, "problem", ...link);
  }
}

const randomKey = () =>
  [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

function nameField() {
  return el("input", {
    name: "model",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
}
