// Models: the list, with export, import and deletion.

import { list, remove, request, upload } from "../api.js";
import { MODEL_REFERENCE } from "../limits.js";
import { ask, drawn, el, field, heading, message, percent, save } from "../ui.js";
import { card, pathOf, plainCard } from "./models/card.js";

export const create = () => new Models();

class Models {
  #cards = el("ul", { class: "models" });
  #said = message();
  #empty = el(
    "p",
    { class: "soft", hidden: true },
    "No models yet. ",
    el("a", { href: "/train" }, "Train one"),
    ", or import one from another server.",
  );
  #file = el("input", {
    type: "file",
    accept: ".zip,application/zip",
    class: "off",
    id: "model-file",
    on: { change: () => this.#chosen() },
  });

  constructor() {
    const lead =
      "Models trained or imported here. Each is a directory of plain files: weights, vocabulary, and how it was made.";
    const label = el("label", { class: "button", for: "model-file" }, "Import a model");
    this.root = el(
      "div",
      { class: "view" },
      heading("Models", lead),
      el("div", { class: "actions" }, this.#file, label),
      this.#said.place,
      this.#empty,
      this.#cards,
    );
  }

  show() {
    void this.#show();
  }

  async #show() {
    const [models, damaged] = await Promise.all([
      list("/models", "models"),
      list("/models", "damaged"),
    ]);
    const actions = {
      download: (model, format, button) => this.#try(() => download(model, format, button)),
      remove: (model) => this.#try(() => this.#remove(model)),
    };
    this.#empty.hidden = models.length + damaged.length > 0;
    const draw = (model) => card(model, actions);
    const instead = (model) => plainCard(model, actions);
    this.#cards.replaceChildren(...drawn(models, draw, instead), ...damaged.map(instead));
  }

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

  async #chosen() {
    const [file] = this.#file.files;
    if (!file) return;
    await this.#try(() => this.#import(file));
    // So that choosing the same file again is a change.
    this.#file.value = "";
  }

  async #import(file) {
    const name = await askForName(nameFrom(file.name));
    if (!name) return;
    this.#said.say("Uploading …");
    await upload(pathOf({ model: name }), file, {
      type: "application/zip",
      progress: (share) => this.#said.say(`Uploading, ${percent(share)} …`),
    });
    this.#said.say(`${name} has been imported.`);
    await this.#show();
  }

  async #remove(model) {
    const isAll = model.tag === "latest" && model.tags?.length > 1;
    const sure = await ask({
      title: `Delete ${model.model}?`,
      text: isAll
        ? `This deletes all of its tags: ${model.tags.join(", ")}.`
        : "Texts that it is writing end where they are.",
      confirm: "Delete",
      danger: true,
    });
    if (!sure) return;
    await remove(pathOf(model));
    await this.#show();
  }
}

/** Downloads as "zip" or "html", with the key, which a link could not carry. */
async function download(model, format, button) {
  const label = button.textContent;
  button.disabled = true;
  button.textContent = "Packing …";
  try {
    const headers = { Accept: "*/*" };
    const path = `${pathOf(model)}/download?format=${format}`;
    const response = await request(path, { headers });
    save(await response.blob(), `${model.model.replace(":", "-")}.${format}`);
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
}

async function askForName(value) {
  const input = el("input", {
    name: "name",
    required: true,
    value,
    pattern: MODEL_REFERENCE,
    title: "lower-case letters, digits, - and _",
  });
  const given = await ask({
    title: "Import a model",
    text: "Choose a name. If a model has it already, the import becomes that model's latest version.",
    fields: [field("Name", input)],
    confirm: "Import",
  });
  return given?.name;
}

/** A name for a model in a file. */
export const nameFrom = (filename) =>
  filename
    .replace(/\.zip$/i, "")
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^[-_]+/, "");
