// The scores below a text that is ABC notation. What reads it is fetched when a text might be some,
// what draws it when there is a first tune. Knows no form and no URL.

import { counted, t } from "../../language.js";
import { el, message, number } from "../../ui.js";

/** Milliseconds between two looks at a text that is being written. */
const BETWEEN = 1000;
/** UTF-16 units from a text's beginning that are looked at, and what ABC notation has there. */
const LOOKED_AT = 8000;
const PERHAPS = /^X:|\|/m;

export class Scores {
  #list = null;
  #loading = false;
  #abc = null;
  #changed;
  #tunes = [];
  #due = 0;
  /** Units of the finished text that is shown. */
  #settled = null;
  #title = el("h2", {});
  #said = message();

  /** @param {() => void} changed follows scores that appear by themselves */
  constructor(label, changed) {
    this.#changed = changed;
    this.root = el(
      "section",
      { class: "scores", "aria-label": label, tabindex: "-1", hidden: true },
      this.#title,
      this.#said.place,
    );
  }

  /** Shows the tunes of a sheet: while it is written those that are whole, then all. */
  follow(isWriting, sheet) {
    if (isWriting) {
      const now = performance.now();
      if (now < this.#due) return;
      this.#due = now + BETWEEN;
      this.#settled = null;
    }
    const { text } = sheet;
    if (!isWriting) {
      if (this.#settled === text.length) return;
      this.#settled = text.length;
    }
    const { isAbc, tunesOf } = this.#abc ?? {};
    if (!isAbc && PERHAPS.test(text.slice(0, LOOKED_AT))) void this.#learn();
    if (!isAbc?.(text)) this.#show([]);
    else this.#show(tunesOf(text).filter(({ isWhole }) => isWhole || !isWriting));
  }

  /** Another text begins: what plays is not of it. */
  clear() {
    this.#due = 0;
    this.#settled = null;
    this.#list?.clear();
    this.#show([]);
  }

  pause() {
    this.#list?.pause();
  }

  #show(tunes) {
    this.#tunes = tunes;
    this.root.hidden = !tunes.length;
    this.#title.textContent = counted(tunes.length, number(tunes.length), "{n} tune", "{n} tunes");
    if (this.#list) this.#list.show(tunes);
    else if (tunes.length && !this.#loading) void this.#load();
  }

  /** Learns to read ABC notation, and looks again. */
  async #learn() {
    this.#abc = await import("./tunes/abc.js");
    this.#due = 0;
    this.#settled = null;
    this.#changed();
  }

  async #load() {
    this.#loading = true;
    this.#said.clear();
    try {
      const { TuneList } = await import("./tunes/list.js");
      this.#list = await TuneList.load();
      this.root.append(this.#list.root);
      this.#list.show(this.#tunes);
    } catch (error) {
      console.warn(error);
      this.#said.say(t("The scores could not be loaded. Write again to try again."), "problem");
    }
    this.#loading = false;
  }
}
