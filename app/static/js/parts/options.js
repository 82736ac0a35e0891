// Every option of POST /train as a field, made from the server's OpenAPI document. Knows no corpus
// and no job.

import { get } from "../api.js";
import { t } from "../language.js";
import { el, field, select, told } from "../ui.js";
import { groupsOf } from "./options/schema.js";

/** Folded, and without fields until it is first opened. */
export class Options {
  #groups = el("div", { class: "option-groups" });
  #given = {};
  #loading = null;

  constructor() {
    const summary = el("summary", {}, t("Options"));
    this.root = el("details", { class: "options" }, summary, this.#groups);
    this.root.addEventListener("toggle", () => this.root.open && this.load());
  }

  /** Makes the fields, once; after a failure, the next call tries again. */
  load() {
    this.#loading ??= this.#fill().catch((error) => {
      this.#loading = null;
      this.#groups.replaceChildren(el("p", { class: "message problem" }, ...told(error.message)));
    });
    return this.#loading;
  }

  /** Sets an option, whether or not its field exists yet, or ever will. */
  set(name, value) {
    this.#given[name] = value;
    const control = this.#groups.querySelector(`[name="${name}"]`);
    if (control) control.value = value;
  }

  /** The options that are not empty, by name. */
  values() {
    const given = { ...this.#given };
    for (const { name, value } of this.#groups.querySelectorAll("input, select")) {
      // Spaces at the ends of a prime count.
      const wanted = name === "sample_prime" ? value : value.trim();
      if (wanted) given[name] = wanted;
      else delete given[name];
    }
    return given;
  }

  async #fill() {
    const groups = groupsOf(await get("/openapi.json"));
    this.#groups.replaceChildren(
      el("p", { class: "hint" }, t("The preset decides what you leave empty.")),
      ...groups.map(({ title, fields }) =>
        el("fieldset", {}, el("legend", {}, title), ...fields.map(control)),
      ),
    );
    for (const [name, value] of Object.entries(this.#given)) this.set(name, value);
  }
}

function control({ name, label, choices, placeholder, isNumber, hint }) {
  const input = choices
    ? select(choices, { name })
    : el("input", {
        name,
        placeholder,
        autocomplete: "off",
        inputmode: isNumber ? "decimal" : null,
      });
  return field(label, input, { hint });
}
