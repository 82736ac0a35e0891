// The choice of a text to train on: files, pasted text, or a text already on the server; and the
// corpus doctor's report on it. Knows no option.

import { list, upload, wasAborted } from "../../api.js";
import { t, woven } from "../../language.js";
import { bytes, el } from "../../ui.js";
import { decodingOf } from "./decoding.js";
import { chosen, dropped, formOf } from "./files.js";
import { reportOf } from "./report.js";

/** A model name made from a file name. */
export function modelNameOf(filename) {
  const stem = filename
    .replace(/\.[^.]*$/, "")
    .normalize("NFKD")
    .toLowerCase();
  return (
    stem
      .replace(/[^a-z0-9_-]+/g, "-")
      .replace(/^[-_]+|[-_]+$/g, "")
      .slice(0, 63) || "model"
  );
}

/** The texts of jobs, each under the name of its first model. */
export function textsOf(corpora, jobs) {
  const names = new Map(jobs.map((job) => [job.corpus_id, job.model]));
  return corpora
    .filter(({ id }) => names.has(id))
    .map((corpus) => ({ ...corpus, name: names.get(corpus.id) }));
}

export class CorpusField {
  /** The id of the chosen text; null while there is none. */
  id = null;
  #handlers;
  #sending = null;
  #texts = [];
  #report = el("section", {
    class: "report",
    "aria-live": "polite",
    "aria-label": t("Corpus report"),
  });
  #meter = el("progress", { max: "1", value: 0, hidden: true, "aria-label": t("Upload") });
  #file = this.#input("corpus-file", { multiple: true });
  #folder = this.#input("corpus-folder", { webkitdirectory: true });
  #pasted = el("textarea", {
    rows: "7",
    name: "text",
    "aria-label": t("Text to train on"),
    spellcheck: "false",
    placeholder: t("… or paste it here"),
    on: {
      // Sent at once when pasted, and after typing when the focus leaves.
      paste: () => setTimeout(() => this.#sendPasted()),
      change: () => this.#sendPasted(),
    },
  });
  #known = el("select", {
    "aria-label": t("A text already on the server"),
    on: { change: () => this.#known.value && this.#take(this.#known.value) },
  });
  #knownLine = el(
    "p",
    { class: "again soft", hidden: true },
    ...woven("or reuse a text from {model}", { model: this.#known }),
  );

  /**
   * @param {object} handlers
   * @param {() => void} handlers.begun when a text is given
   * @param {(report: object, name: string) => void} handlers.examined when it is ready to train on
   * @param {(error: Error) => void} handlers.refused
   * @param {() => void} handlers.cleared when it is put away
   * @param {(preset: string) => void} handlers.usePreset
   * @param {(styles: string) => void} handlers.useStyles
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.root = el(
      "div",
      { class: "drop" },
      this.#report,
      this.#meter,
      filePlace(this.#file, this.#folder),
      this.#pasted,
      this.#knownLine,
    );
  }

  #input(id, properties) {
    const change = ({ target }) => {
      if (target.files.length) this.#sendChosen(() => chosen(target.files));
    };
    return el("input", { type: "file", class: "off", id, ...properties, on: { change } });
  }

  /** Accepts files, folders or text dropped on an element. */
  acceptDropsOn(element) {
    const { classList } = this.root;
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      classList.add("over");
    });
    element.addEventListener("dragleave", (event) => {
      if (!element.contains(event.relatedTarget)) classList.remove("over");
    });
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      classList.remove("over");
      this.#dropped(event.dataTransfer);
    });
  }

  /** Offers the texts of jobs to reuse; after the first that exist, does nothing. */
  async offerTextsOf(jobs) {
    if (this.#texts.length || !jobs.length) return;
    this.#texts = textsOf(await list("/corpora", "corpora").catch(() => []), jobs);
    this.#known.replaceChildren(
      new Option("…", ""),
      ...this.#texts.map(
        ({ id, name, bytes: size }) =>
          new Option(t("{model}, {size}", { model: name, size: bytes(size) }), id),
      ),
    );
    this.#knownLine.hidden = !this.#texts.length;
  }

  /** Puts the chosen text away. */
  clear() {
    this.id = null;
    this.#pasted.value = "";
    this.#known.value = "";
    this.#report.replaceChildren();
    this.root.classList.remove("full");
    this.#handlers.cleared();
  }

  #dropped(transfer) {
    const text = transfer.getData("text");
    this.#sendChosen(() => dropped(transfer));
    if (!transfer.files.length && text) {
      this.#pasted.value = text;
      this.#sendPasted();
    }
  }

  #sendPasted() {
    if (!this.#pasted.value.trim()) return;
    const file = new File([this.#pasted.value], "pasted.txt");
    this.#send({ name: file.name, files: [{ path: file.name, file }], hidden: 0 });
  }

  /** Sends what a function finds; null is nothing. */
  async #sendChosen(find) {
    try {
      const found = await find();
      if (found) await this.#send(found);
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Uploads a text and shows the server's report on it. */
  async #send({ name, files, hidden, converted = "" }) {
    this.#sending?.abort();
    this.#sending = new AbortController();
    const { signal } = this.#sending;
    this.#begin(
      name,
      files.reduce((sum, { file }) => sum + file.size, 0),
    );
    this.#meter.hidden = false;
    this.#meter.value = 0;
    const progress = (share) => {
      this.#meter.value = share;
    };
    try {
      const report = await upload("/corpora", formOf(files), { progress, signal });
      if (signal.aborted) return;
      const [{ file }] = files;
      if (files.length === 1 && report.encoding === "bytes" && report.characters !== null)
        await this.#ask(report, name, file);
      else this.#examined({ ...report, hidden, converted }, name);
    } catch (error) {
      if (!signal.aborted && !wasAborted(error)) this.#refused(error);
    } finally {
      if (!signal.aborted) this.#meter.hidden = true;
      this.#file.value = "";
      this.#folder.value = "";
    }
  }

  /** Asks how to read a file that is not UTF-8: it may be trained on as bytes, or converted here. */
  async #ask(report, name, file) {
    const { signal } = this.#sending;
    const data = new Uint8Array(await file.arrayBuffer());
    if (signal.aborted) return;
    const question = decodingOf(data, {
      accept: (text, converted) => {
        const utf8 = new File([text], name);
        this.#send({ name, files: [{ path: name, file: utf8 }], hidden: 0, converted });
      },
      asBytes: () => this.#examined({ ...report, warnings: knowing(report) }, name),
    });
    this.#show(this.#headOf(report, name), question);
  }

  /** Chooses a text on the server. */
  #take(id) {
    this.#sending?.abort();
    const text = this.#texts.find((one) => one.id === id);
    this.#begin(text.name, text.bytes);
    this.#examined(text, text.name);
  }

  #begin(name, size) {
    this.id = null;
    this.#handlers.begun();
    const reading = t("Reading {name}, {size} …", { name, size: bytes(size) });
    this.#report.replaceChildren(el("p", { class: "soft" }, reading));
  }

  #examined(report, name) {
    this.id = report.id;
    this.#show(this.#headOf(report, name), ...reportOf(report, this.#handlers));
    this.#handlers.examined(report, name);
  }

  #headOf(report, name) {
    const click = () => {
      this.clear();
      this.#file.focus();
    };
    const another = { type: "button", class: "quiet", on: { click } };
    return el(
      "div",
      { class: "report-name" },
      el("p", {}, el("strong", {}, name), ` ${bytes(report.bytes)}`),
      el("button", another, t("Another text")),
    );
  }

  #show(...parts) {
    this.#report.replaceChildren(...parts);
    this.root.classList.add("full");
  }

  #refused(error) {
    this.#report.replaceChildren();
    this.#handlers.refused(error);
  }
}

/** The warnings for who knows that a text is not UTF-8. */
const knowing = ({ warnings }) => warnings.filter((words) => !/^the text is not UTF-8/.test(words));

function filePlace(file, folder) {
  const kinds = t("Also folders, .zip, .tar.gz, .epub, .docx and .html, many at once.");
  const sizes = t("Plain text in any language or code: 100 kB is fun, 1 MB is good.");
  return el(
    "div",
    { class: "drop-file" },
    el("p", { class: "big" }, t("Drop your text")),
    el("p", { class: "soft" }, sizes),
    el("p", { class: "soft" }, kinds),
    el(
      "div",
      { class: "actions" },
      file,
      el("label", { class: "button", for: file.id }, t("Choose files")),
      folder,
      el("label", { class: "button", for: folder.id }, t("Choose a folder")),
    ),
  );
}
