// The shelf: the names that are kept, to copy, to save and to drop.

import { counted, t } from "../../language.js";
import { ask, copy, el, number, save } from "../../ui.js";
import { asCsv, asText } from "./kept.js";

export class Shelf {
  #kept;
  #list = el("ul", { class: "kept", "aria-label": t("Kept names") });
  #none = el(
    "p",
    { class: "soft" },
    t("Press a name to keep it. Kept names stay in this browser, whatever you draw next."),
  );
  #unsafe = el(
    "p",
    { class: "message note", hidden: true },
    t("This browser stores nothing for this page: copy or save the names before you close it."),
  );
  #count = el("span", { class: "soft" });
  #actions = el("div", { class: "actions" });

  constructor(kept) {
    this.#kept = kept;
    this.#actions.append(
      button(t("Copy all"), ({ target }) => copy(asText(kept.all), target)),
      button(t("Save as TXT"), () => save(new Blob([asText(kept.all)]), "names.txt")),
      button(t("Save as CSV"), () => save(new Blob([asCsv(kept.all)]), "names.csv")),
      button(t("Remove all"), () => this.#clear()),
    );
    this.root = el(
      "section",
      { class: "card shelf", "aria-labelledby": "shelf-title" },
      el("div", { class: "title-line" }, el("h2", { id: "shelf-title" }, t("Kept")), this.#count),
      this.#none,
      this.#list,
      this.#unsafe,
      this.#actions,
    );
    kept.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { all, isSafe } = this.#kept;
    this.#none.hidden = all.length > 0;
    this.#actions.hidden = !all.length;
    this.#unsafe.hidden = isSafe || !all.length;
    this.#count.textContent = all.length
      ? counted(all.length, number(all.length), "{n} name", "{n} names")
      : "";
    this.#list.replaceChildren(...all.map((one) => this.#item(one)));
  }

  #item({ name, model }) {
    const label = t("Remove {name}", { name });
    const drop = el("button", { type: "button", class: "drop-name", "aria-label": label }, "×");
    drop.addEventListener("click", () => {
      const place = this.#kept.all.findIndex((one) => one.name === name);
      this.#kept.drop(name);
      // Where the button was there is the next one, or the last.
      const buttons = this.#list.querySelectorAll("button");
      (buttons[place] ?? buttons[buttons.length - 1])?.focus();
    });
    return el("li", { title: t("from {model}", { model }) }, el("span", {}, name), drop);
  }

  async #clear() {
    const { length } = this.#kept.all;
    const sure = await ask({
      title: counted(length, number(length), "Remove {n} kept name?", "Remove {n} kept names?"),
      text: t("They are nowhere else but in what you copied or saved."),
      confirm: t("Remove"),
      danger: true,
    });
    if (sure) this.#kept.clear();
  }
}

const button = (label, click) =>
  el("button", { type: "button", class: "quiet", on: { click } }, label);
