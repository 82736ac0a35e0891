// A form to paste a text into. Knows no model.

import { t } from "../../language.js";
import { MAX_INSPECTED } from "../../limits.js";
import { clearErrors, el, field, number, showErrors } from "../../ui.js";

export class OwnText {
  #text = el("textarea", {
    name: "text",
    rows: "8",
    maxlength: MAX_INSPECTED,
    spellcheck: "false",
    placeholder: t("Paste up to {n} characters", { n: number(MAX_INSPECTED) }),
  });
  #form;

  /** `submitted` is called with the text. */
  constructor(submitted) {
    const submit = (event) => {
      event.preventDefault();
      submitted(this.#text.value);
    };
    this.#form = el(
      "form",
      { on: { submit } },
      field(t("Text"), this.#text),
      el("div", { class: "actions" }, el("button", { class: "primary" }, t("Look at it"))),
    );
    this.root = el(
      "details",
      { class: "another" },
      el("summary", {}, t("A text of your own")),
      this.#form,
    );
  }

  /** Takes over the text that is shown, for a person to change. */
  show(text) {
    if (text && this.#text.value !== text) this.#text.value = text;
  }

  clearErrors() {
    clearErrors(this.#form);
  }

  /** Shows a problem's errors; returns whether they all concern the text. */
  showErrors(problem) {
    return showErrors(this.#form, problem);
  }
}
