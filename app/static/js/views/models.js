// Models: a collection to search, sort, pin and note, with export, import and deletion.

import { get, list, post, remove, request, upload } from "../api.js";
import { counted, t, woven } from "../language.js";
import { MODEL_NAME, MODEL_REFERENCE } from "../limits.js";
import { download, pathOf } from "../parts/download.js";
import { isEnded } from "../parts/progress.js";
import { ask, drawn, el, field, heading, message, number, percent, select } from "../ui.js";
import { card, MORE_MINUTES, plainCard } from "./models/card.js";
import { grouped, matching, moreTime, ORDERS, sorted } from "./models/collection.js";

const MOST_NOTES = 4000;
/** Losses that a card draws: one for about two pixels. */
const SPARKLINE_POINTS = 200;

export const create = ({ go }) => new Models(go);

class Models {
  #go;
  #groups = [];
  #damaged = [];
  /** Selected groups, by name. */
  #selected = new Set();
  /** Of the checkpoints that were seen, by digest. */
  #histories = new Map();
  #search = el("input", {
    type: "search",
    placeholder: t("name, tag, notes"),
    autocomplete: "off",
  });
  #order = select(Object.entries(ORDERS).map(([value, [label]]) => [value, label]));
  #found = el("p", { class: "soft", role: "status" });
  #bulk = el("div", { class: "actions bulk", hidden: true });
  #cards = el("ul", { class: "models" });
  #said = message();
  #empty = el(
    "p",
    { class: "soft", hidden: true },
    ...woven("No models yet. {train}, or import one from another server.", {
      train: el("a", { href: "/train" }, t("Train one")),
    }),
  );
  #file = el("input", {
    type: "file",
    accept: ".zip,application/zip",
    class: "off",
    id: "model-file",
    on: { change: () => this.#chosen() },
  });
  #actions = {
    download: (model, format, button) => this.#try(() => download(model, format, button)),
    remove: (what) => this.#try(() => this.#remove([what])),
    pin: (group) => this.#try(() => this.#describe(group, { pinned: !group.main.pinned })),
    note: (group) => this.#try(() => this.#note(group)),
    rename: (group) => this.#try(() => this.#rename(group)),
    more: (model) => this.#try(() => this.#trainMore(model)),
    select: (group, isSelected) => this.#select(group, isSelected),
  };

  constructor(go) {
    this.#go = go;
    for (const control of [this.#search, this.#order])
      control.addEventListener("input", () => this.#arranged());
    const lead = t(
      "Models trained or imported here. Each is a directory of plain files: weights, vocabulary, and how it was made.",
    );
    const label = el("label", { class: "button", for: "model-file" }, t("Import a model"));
    this.root = el(
      "div",
      { class: "view" },
      heading(t("Models"), lead),
      el(
        "div",
        { class: "arrange" },
        field(t("Search"), this.#search, { name: "search" }),
        field(t("Sort by"), this.#order, { name: "sort" }),
        el("div", { class: "actions" }, this.#file, label),
      ),
      this.#said.place,
      el("div", { class: "title-line" }, this.#found, this.#bulk),
      this.#empty,
      this.#cards,
    );
  }

  show(url) {
    this.#search.value = url.searchParams.get("search") ?? this.#search.value;
    const order = url.searchParams.get("sort");
    if (order in ORDERS) this.#order.value = order;
    void this.#show();
  }

  async #show() {
    const [models, damaged] = await Promise.all([
      list("/models", "models"),
      list("/models", "damaged"),
    ]);
    this.#groups = grouped(models);
    this.#damaged = damaged;
    const names = new Set(this.#groups.map(({ name }) => name));
    for (const name of this.#selected) if (!names.has(name)) this.#selected.delete(name);
    this.#draw();
  }

  // Drawing

  /** Shows what is searched for in the order that is chosen, and notes both in the address. */
  #arranged() {
    const query = new URLSearchParams();
    if (this.#search.value.trim()) query.set("search", this.#search.value.trim());
    if (this.#order.value !== "name") query.set("sort", this.#order.value);
    this.#go(`/models${query.size ? `?${query}` : ""}`, { replace: true, quietly: true });
    this.#draw();
  }

  #draw() {
    const total = this.#groups.length + this.#damaged.length;
    const shown = sorted(matching(this.#groups, this.#search.value), this.#order.value);
    const damaged = this.#damaged.filter(({ model }) => model.includes(this.#search.value.trim()));
    const found = shown.length + damaged.length;
    this.#empty.hidden = total > 0;
    this.#found.textContent =
      found === total
        ? counted(total, number(total), "{n} model", "{n} models")
        : counted(total, number(total), "{found} of {n} model", "{found} of {n} models", {
            found: number(found),
          });
    const draw = (group) => this.#card(group);
    const instead = ({ main }) => plainCard(main, this.#actions);
    this.#cards.replaceChildren(
      ...drawn(shown, draw, instead),
      ...damaged.map((one) => plainCard(one, this.#actions)),
    );
    this.#drawSelection();
  }

  #card(group) {
    const drawn = card(group, this.#actions, (model) => this.#history(model));
    drawn.querySelector("input[type=checkbox]").checked = this.#selected.has(group.name);
    return drawn;
  }

  #history(model) {
    const known = this.#histories.get(model.digest);
    const history =
      known ??
      get(`${pathOf(model)}/history?points=${SPARKLINE_POINTS}`).catch(() => ({
        points: [],
        samples: [],
      }));
    this.#histories.set(model.digest, history);
    return history;
  }

  // Selecting

  #select({ name }, isSelected) {
    if (isSelected) this.#selected.add(name);
    else this.#selected.delete(name);
    this.#drawSelection();
  }

  #drawSelection() {
    const many = this.#selected.size;
    this.#bulk.hidden = !many;
    const button = (label, click) =>
      el("button", { type: "button", class: "quiet", on: { click } }, label);
    this.#bulk.replaceChildren(
      el("span", {}, t("{n} selected", { n: number(many) })),
      button(t("Delete selected"), () => this.#try(() => this.#removeSelected())),
      button(t("Select none"), () => {
        this.#selected.clear();
        this.#draw();
      }),
    );
  }

  async #removeSelected() {
    await this.#remove(this.#groups.filter(({ name }) => this.#selected.has(name)));
  }

  // Actions

  /** Does something, and shows what goes wrong. */
  async #try(act) {
    this.#said.clear();
    try {
      await act();
    } catch (error) {
      this.#said.say(error.message, "problem");
      this.#said.place.scrollIntoView({ block: "nearest" });
    }
  }

  async #describe(group, change) {
    const described = await request(`/models/${group.name}`, { method: "PATCH", json: change });
    const { notes, pinned } = await described.json();
    for (const model of [group.main, ...group.others]) Object.assign(model, { notes, pinned });
    this.#draw();
  }

  async #note(group) {
    const input = el("textarea", { name: "notes", rows: "6", maxlength: MOST_NOTES });
    input.value = group.main.notes;
    const given = await ask({
      title: t("Notes on {model}", { model: group.name }),
      text: t("Everybody who may see the model can read them."),
      fields: [field(t("Notes"), input)],
      confirm: t("Save"),
    });
    if (given) await this.#describe(group, { notes: given.notes.replaceAll("\r\n", "\n").trim() });
  }

  async #rename({ name }) {
    const given = await askForName(name, {
      title: t("Rename {model}", { model: name }),
      text: t("All of its tags and its ended jobs follow. Links to the old name end."),
      confirm: t("Rename"),
      pattern: MODEL_NAME,
    });
    if (!given || given === name) return;
    await request(`/models/${name}`, { method: "PATCH", json: { name: given } });
    if (this.#selected.delete(name)) this.#selected.add(given);
    this.#said.say(t("{model} is {name} now.", { model: name, name: given }));
    await this.#show();
  }

  async #trainMore(model) {
    const path = `/jobs/${model.job_id}`;
    const job = await get(path).catch((error) => {
      if (error.status !== 404) throw error;
      throw new Error(
        t("The job that trained {model} is gone: train its text again.", { model: model.model }),
      );
    });
    if (isEnded(job)) await post(`${path}/resume`, moreTime(job, 60 * MORE_MINUTES));
    this.#go(`/train/${model.job_id}`);
  }

  async #chosen() {
    const [file] = this.#file.files;
    if (!file) return;
    await this.#try(() => this.#import(file));
    // So that choosing the same file again is a change.
    this.#file.value = "";
  }

  async #import(file) {
    const name = await askForName(nameFrom(file.name), {
      title: t("Import a model"),
      text: t(
        "Choose a name. If a model has it already, the import becomes that model's latest version.",
      ),
      confirm: t("Import"),
      pattern: MODEL_REFERENCE,
    });
    if (!name) return;
    this.#said.say(t("Uploading …"));
    await upload(pathOf({ model: name }), file, {
      type: "application/zip",
      progress: (share) => this.#said.say(t("Uploading, {share} …", { share: percent(share) })),
    });
    this.#said.say(t("{model} has been imported.", { model: name }));
    await this.#show();
  }

  /** Deletes models, and groups with all of their tags, as far as it can. */
  async #remove(all) {
    const models = all.map((one) =>
      one.main ? { model: one.name, group: one } : { model: one.model },
    );
    const sure = await ask({ ...removalOf(models), confirm: t("Delete"), danger: true });
    if (!sure) return;
    try {
      for (const model of models) await remove(pathOf(model));
    } finally {
      await this.#show();
    }
  }
}

/** The title and the text of the question whether to delete. */
function removalOf(models) {
  const many = models.length;
  if (many > 1)
    return {
      title: counted(many, number(many), "Delete {n} model?", "Delete {n} models?"),
      text: t("This deletes all tags of {models}.", {
        models: models.map(({ model }) => model).join(t(", ")),
      }),
    };
  const [{ model, group }] = models;
  const tags = group?.others.length ? [group.main, ...group.others].map(({ tag }) => tag) : null;
  return {
    title: t("Delete {model}?", { model }),
    text: tags
      ? t("This deletes all of its tags: {tags}.", { tags: tags.join(t(", ")) })
      : t("Texts that it is writing end where they are."),
  };
}

async function askForName(value, { pattern, ...words }) {
  const input = el("input", {
    name: "name",
    required: true,
    value,
    pattern,
    autocomplete: "off",
    title: t("lower-case letters, digits, - and _"),
  });
  const given = await ask({ ...words, fields: [field(t("Name"), input)] });
  return given?.name;
}

/** A name for a model in a file. */
export const nameFrom = (filename) =>
  filename
    .replace(/\.zip$/i, "")
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^[-_]+/, "");
