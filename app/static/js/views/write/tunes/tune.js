// One tune on the page: its score, how it sounds, and what could not be read. Knows no text around
// it.

import { LANGUAGE, t, together } from "../../../language.js";
import { startOf } from "../../../parts/sheet/units.js";
import { copy, el, number, reducedMotion } from "../../../ui.js";
import { repaired } from "./abc.js";
import { Engraving } from "./engraving.js";
import { unreadable } from "./library.js";
import { midiFile } from "./midi.js";
import { performed } from "./performance.js";
import { Player } from "./player.js";

/** Things that could not be read to name; more are counted. */
const NAMED = 3;
/** Whole notes of a note that is longer than any that the score ties together. */
const UNDRAWN = 24;

export class TuneFigure {
  #title;
  #abc;
  #performance = null;
  #player = null;
  #engraving = null;
  #started;
  #shown = -1;
  #play;
  #seek;
  #time = el("span", { class: "time" });

  /**
   * @param abcjs
   * @param {{source: string, isWhole: boolean}} tune
   * @param {number} number
   * @param {(figure: TuneFigure) => void} started - called when it begins to play
   */
  constructor(abcjs, tune, number, started) {
    this.#started = started;
    const { abc, music, title, notes } = repaired(tune, number);
    this.#abc = abc;
    this.#title = title;
    const words = [...notes];
    if (!tune.isWhole) words.unshift(t("The text ends before the tune does."));
    const parsed = attempt(() => abcjs.parseOnly(music)[0]);
    if (parsed) {
      words.push(...leftOut(unreadable(parsed.warnings)));
      this.#engraving = new Engraving(abcjs, music, t("Score of {title}", { title }));
      this.#performance = attempt(() => performed(parsed));
      if (!this.#performance?.notes.length) words.push(t("It cannot be played."));
      else if (this.#performance.notes.some(isUndrawn))
        words.push(t("A note too long for any sign is played, but not drawn."));
    } else words.push(t("It could not be read as ABC notation."));
    this.root = el(
      "article",
      { class: "tune", "aria-label": title },
      el("h3", {}, title),
      this.#controls(),
      this.#engraving?.root,
      words.length ? el("p", { class: "hint" }, together(...words)) : null,
    );
  }

  pause() {
    this.#player?.pause();
    this.#update();
  }

  remove() {
    this.pause();
    this.#engraving?.remove();
    this.root.remove();
  }

  #controls() {
    const copyAbc = el("button", { type: "button", class: "quiet" }, t("Copy ABC"));
    copyAbc.addEventListener("click", () => copy(this.#abc, copyAbc));
    if (!this.#performance?.notes.length) return el("div", { class: "actions" }, copyAbc);
    this.#player = new Player(this.#performance, () => this.#update());
    this.#play = el("button", { type: "button", on: { click: () => this.#toggle() } });
    this.#seek = el("input", {
      type: "range",
      min: "0",
      max: this.#player.seconds.toFixed(2),
      step: "any",
      value: "0",
      "aria-label": t("Position in {title}", { title: this.#title }),
      on: {
        input: () => this.#moved(),
        keydown: (event) => this.#stepped(event),
      },
    });
    const midi = el("button", { type: "button", class: "quiet" }, "MIDI");
    midi.setAttribute("aria-label", t("Download {title} as a MIDI file", { title: this.#title }));
    midi.addEventListener("click", () => this.#download());
    this.#update();
    const position = el("div", { class: "position" }, this.#seek, this.#time);
    return el("div", { class: "actions" }, this.#play, position, midi, copyAbc);
  }

  async #toggle() {
    if (this.#player.isPlaying) {
      this.pause();
      return;
    }
    this.#started(this);
    await this.#player.play();
    this.#follow();
  }

  #moved() {
    this.#player.seek(Number(this.#seek.value));
    this.#update();
  }

  /** Arrow keys go a few seconds at a time; a step of "any" would leave them to the browser. */
  #stepped(event) {
    const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#player.seek(this.#player.position + step);
    this.#update();
  }

  /** Moves the mark with the music, once a frame. */
  #follow() {
    this.#update({ isFollowed: true });
    if (this.#player.isPlaying) requestAnimationFrame(() => this.#follow());
  }

  #update({ isFollowed = false } = {}) {
    if (!this.#player) return;
    const { isPlaying, position, seconds } = this.#player;
    const label = isPlaying ? t("Pause") : t("Play");
    if (this.#play.textContent !== label) {
      this.#play.textContent = label;
      const title = this.#title;
      const spoken = isPlaying ? t("Pause {title}", { title }) : t("Play {title}", { title });
      this.#play.setAttribute("aria-label", spoken);
    }
    this.#seek.value = position;
    const [at, of] = [clock(position), clock(seconds)];
    const time = `${at} / ${of}`;
    if (this.#time.textContent !== time) {
      this.#time.textContent = time;
      this.#seek.setAttribute("aria-valuetext", t("{at} of {of}", { at, of }));
    }
    this.#showNote(isPlaying || position > 0 ? this.#player.current : -1, isFollowed);
  }

  #showNote(index, isFollowed) {
    if (index === this.#shown) return;
    this.#shown = index;
    const mark = this.#engraving.show(this.#performance.notes[index]?.at ?? null);
    if (mark && isFollowed && isHidden(mark.getBoundingClientRect())) {
      const behavior = reducedMotion() ? "auto" : "smooth";
      mark.scrollIntoView({ block: "center", behavior });
    }
  }

  #download() {
    const bytes = midiFile(this.#title, this.#performance);
    const href = URL.createObjectURL(new Blob([bytes], { type: "audio/midi" }));
    const link = document.createElement("a");
    link.href = href;
    link.download = `${fileName(this.#title)}.mid`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }
}

const isUndrawn = ({ start, end }) => end - start > UNDRAWN;

const isHidden = ({ top, bottom }) => top < 0 || bottom > innerHeight;

function attempt(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

const and = new Intl.ListFormat(LANGUAGE, { style: "narrow" });

/** What could not be read, in one sentence, or none. */
export function leftOut(all) {
  if (!all.length) return [];
  const named = all
    .slice(0, NAMED)
    .map(({ what, near }) =>
      what === near || !what ? t("“{near}”", { near }) : t("“{what}” in “{near}”", { what, near }),
    );
  if (all.length > NAMED) named.push(t("{n} more", { n: number(all.length - NAMED) }));
  return [t("Left out because it could not be read: {named}.", { named: and.format(named) })];
}

/** Seconds as on a clock: "1:05". */
export const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${`${Math.floor(seconds % 60)}`.padStart(2, "0")}`;

/** A title as the name of a file on any system. */
export function fileName(title) {
  const name = title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return name.slice(0, startOf(name, 60)) || "tune";
}
