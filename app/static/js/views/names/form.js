// The controls that say which names are wanted. Knows no request.

import { t } from "../../language.js";
import { MAX_NAME_LENGTH, MAX_NAMES } from "../../limits.js";
import {
  clearErrors,
  el,
  field,
  foldedOnPhones,
  hundredths,
  select,
  showErrors,
} from "../../ui.js";
import { StyleChoice } from "../../parts/styles.js";
import { faultsOf } from "./wanted.js";

export class WantedForm {
  #model = select([]);
  #styles = new Map();
  #style;
  #texts = {
    starts_with: textInput(t("anything")),
    contains: textInput(t("anything")),
    ends_with: textInput(t("anything")),
    pattern: textInput(t("such as K*a")),
  };
  #numbers = {
    min_length: numberInput(MAX_NAME_LENGTH, { placeholder: t("any") }),
    max_length: numberInput(MAX_NAME_LENGTH, { placeholder: t("any") }),
    count: numberInput(MAX_NAMES, { value: "24" }),
  };
  #temperature = el("input", {
    type: "range",
    min: "0.1",
    max: "2",
    step: "0.05",
    value: "0.8",
  });
  #degrees = el("output", { class: "value" });
  #novel = el("input", { type: "checkbox", role: "switch", checked: true });

  /** `changed` is called after each input, `submitted` when new names are asked for. */
  constructor({ changed, submitted }) {
    this.#style = new StyleChoice(changed);
    const all = { model: this.#model, ...this.#texts, ...this.#numbers };
    // Without names of their own: the form would have a control in the place of its `contains()`.
    const labelled = (name, label, more) => field(label, all[name], { name, ...more });
    const on = {
      input: () => {
        this.#describe();
        changed();
      },
      submit: (event) => {
        event.preventDefault();
        submitted();
      },
    };
    this.root = el(
      "form",
      { class: "rail", "aria-label": t("Which names"), novalidate: true, on },
      el(
        "div",
        { class: "stack" },
        labelled("model", t("Model")),
        this.#style.root,
        labelled("starts_with", t("Starts with")),
      ),
      field(t("Temperature"), this.#temperature, { side: this.#degrees }),
      limits(labelled, this.#novel),
    );
    this.#describe();
  }

  /** Offers models, and keeps the one that is chosen if it is among them. */
  offer(models) {
    const before = this.#model.value;
    this.#model.replaceChildren(...models.map(({ model }) => new Option(model)));
    if (models.some(({ model }) => model === before)) this.#model.value = before;
    this.#styles = new Map(models.map(({ model, styles }) => [model, styles ?? []]));
    this.#describe();
  }

  get model() {
    return this.#model.value;
  }

  /** What is wanted, by the names of the API's fields, all of them texts. */
  get wanted() {
    const values = Object.entries({ ...this.#texts, ...this.#numbers }).map(([name, input]) => [
      name,
      // A number that cannot be read has no value; it is not none.
      input.validity.badInput ? "?" : input.value.trim(),
    ]);
    return {
      model: this.#model.value,
      style: this.#style.value,
      ...Object.fromEntries(values),
      temperature: this.#temperature.value,
      novel: String(this.#novel.checked),
    };
  }

  /** Sets what is given, and anything else to what it is at first. */
  set wanted(given) {
    this.root.reset();
    for (const [name, input] of Object.entries({ ...this.#texts, ...this.#numbers }))
      input.value = given[name] ?? input.defaultValue;
    this.#temperature.value = given.temperature ?? "0.8";
    this.#novel.checked = given.novel !== "false";
    if ([...this.#model.options].some(({ value }) => value === given.model))
      this.#model.value = given.model;
    this.#describe();
    this.#style.value = given.style ?? "";
  }

  /** Shows at its fields what is wrong with what is wanted, and returns whether nothing is. */
  check() {
    clearErrors(this.root);
    const faults = faultsOf(this.wanted);
    this.refuse(faults);
    return !faults.length;
  }

  /** Shows errors at the fields that they name; returns whether all of them have one. */
  refuse(errors) {
    return showErrors(this.root, { errors }, { focus: false });
  }

  #describe() {
    this.#style.offer(this.#styles.get(this.#model.value) ?? []);
    this.#degrees.textContent = hundredths(Number(this.#temperature.value));
  }
}

/** The limits besides the beginning, folded on a phone to keep the names in sight. */
function limits(labelled, novel) {
  const folded = el(
    "details",
    { class: "more" },
    el("summary", {}, t("More limits")),
    el(
      "div",
      { class: "pair" },
      labelled("contains", t("Contains")),
      labelled("ends_with", t("Ends with")),
    ),
    labelled("pattern", t("Pattern"), { hint: t("? is one character, * any number of them.") }),
    el(
      "div",
      { class: "trio" },
      labelled("min_length", t("Shortest")),
      labelled("max_length", t("Longest")),
      labelled("count", t("How many")),
    ),
    el("label", { class: "switch" }, novel, el("span", {}, t("Only names not in its list"))),
  );
  foldedOnPhones(folded);
  return folded;
}

const textInput = (placeholder) =>
  el("input", {
    placeholder,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: MAX_NAME_LENGTH,
  });

function numberInput(max, { placeholder = null, value = "" }) {
  const input = el("input", { type: "number", min: "1", max, placeholder });
  input.defaultValue = value;
  return input;
}
