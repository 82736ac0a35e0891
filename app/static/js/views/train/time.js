// How long a job trains: three usual times, as long as the preset says, or one of one's own; and what
// to expect of it on this machine. Knows no option but max_seconds.

import { get, Latest, wasAborted } from "../../api.js";
import { counted, t } from "../../language.js";
import { duration, el, field, number } from "../../ui.js";

const TIMES = [
  ["20", t("20 s")],
  ["180", t("3 min")],
  ["1800", t("30 min")],
  ["", t("No limit")],
  ["own", t("Other")],
];
const DEFAULT = "180";

/** What training for some time does, in words; `isLimit` if the time is what ends it. */
export function outlookOf(time, isLimit, { num_layers, hidden_size, passes }) {
  const network = counted(
    num_layers,
    number(num_layers),
    "{n} layer of {cells} cells",
    "{n} layers of {cells} cells",
    { cells: number(hidden_size) },
  );
  const values = { time, network, reading: readingOf(passes) };
  return isLimit
    ? t("In {time} here, {network} {reading}.", values)
    : t("It takes about {time} here, in which {network} {reading}.", values);
}

const readingOf = (passes) => {
  if (passes >= 1.95) return t("read the text about {n} times", { n: number(Math.round(passes)) });
  if (passes >= 0.95) return t("read the text about once");
  const share = Math.max(1, Math.round(passes * 100));
  return t("read the text in part: {share}% of it", { share });
};

export class TimeField {
  #corpus = null;
  #asked = new Latest();
  #hint = el("p", { class: "hint", "aria-live": "polite" });
  #minutes = el("input", {
    name: "max_minutes",
    inputmode: "decimal",
    autocomplete: "off",
    on: { input: () => this.#describe() },
  });
  #own = field(t("Minutes"), this.#minutes, { name: "max_seconds" });
  #choices = TIMES.map(([value, label]) =>
    el(
      "label",
      {},
      el("input", {
        type: "radio",
        name: "time",
        value,
        checked: value === DEFAULT,
        on: { change: () => this.#describe() },
      }),
      el("span", {}, label),
    ),
  );

  constructor() {
    this.#own.hidden = true;
    this.root = el(
      "fieldset",
      { class: "times" },
      el("legend", {}, t("Training time")),
      el("div", { class: "segments" }, ...this.#choices),
      this.#own,
      this.#hint,
    );
  }

  /** The chosen time; "" is as long as the preset says. */
  get #choice() {
    return this.root.querySelector("[name=time]:checked").value;
  }

  /** Leaves the time to the preset, whose limits are its own. */
  leaveToPreset() {
    this.root.querySelector('[name=time][value=""]').checked = true;
    this.#describe();
  }

  /** The option, as POST /train takes it. */
  values() {
    if (this.#choice === "own") {
      const given = this.#minutes.value.trim().replace(",", ".");
      // The server refuses anything but a number, and says so at the field.
      return given ? { max_seconds: Number.isNaN(Number(given)) ? given : Number(given) * 60 } : {};
    }
    return this.#choice ? { max_seconds: this.#choice } : {};
  }

  /** Tells what to expect for a text; null is none. */
  about(report) {
    this.#corpus = report;
    this.#describe();
  }

  async #describe() {
    this.#own.hidden = this.#choice !== "own";
    if (!this.#corpus) {
      this.#hint.textContent = "";
      return;
    }
    const { id, estimated_seconds } = this.#corpus;
    const seconds = this.values().max_seconds ?? estimated_seconds;
    if (!(seconds > 0)) {
      this.#hint.textContent = estimated_seconds === null ? UNMEASURED : "";
      return;
    }
    const path = `/corpora/${id}/outlook?max_seconds=${seconds}`;
    try {
      const { outlooks } = await get(path, { signal: this.#asked.begin() });
      const [found] = outlooks;
      const time = duration(Number(seconds));
      this.#hint.textContent = found ? outlookOf(time, Boolean(this.#choice), found) : UNMEASURED;
    } catch (error) {
      if (!wasAborted(error)) this.#hint.textContent = "";
    }
  }
}

const UNMEASURED = t("The first job measures how fast this machine is.");
