// The samples of a training as a film: one text at a time, a slider over all of them, and a button
// that plays them. Knows no job and no request.

import { t } from "../language.js";
import { el, number } from "../ui.js";

/** Milliseconds that a text stays. */
const STAY = 1100;

export class Film {
  #frames = [];
  #at = -1;
  /** Whether it moves on to each new text, as it does until an older one is chosen. */
  #isLive = true;
  #timer = 0;
  #shown;
  #slider = el("input", {
    type: "range",
    min: "0",
    max: "0",
    "aria-label": t("Sample"),
    on: {
      input: () => {
        this.stop();
        this.#show(Number(this.#slider.value));
      },
      keydown: (event) => {
        if (event.key !== " ") return;
        event.preventDefault();
        this.#toggle();
      },
    },
  });
  #play = el("button", { type: "button", on: { click: () => this.#toggle() } }, t("Play"));
  #ends = [el("span"), el("span")];
  #title = el("h3", {}, "");
  #text = el("p", { class: "sample" });

  /** @param {(step: number | null) => void} shown gets the step of the text that is on the stage */
  constructor(shown = () => {}) {
    this.#shown = shown;
    this.controls = el(
      "div",
      { class: "film-controls", hidden: true },
      this.#play,
      el("div", {}, this.#slider, el("p", { class: "soft small" }, ...this.#ends)),
    );
    this.stage = el("div", { class: "film-stage", hidden: true }, this.#title, this.#text);
  }

  /** Takes all samples, sorted by step: `{step, temperature, style, text}`. */
  update(samples) {
    const isSame =
      samples.length === this.#frames.length && samples.every((one, i) => one === this.#frames[i]);
    if (isSame) return;
    const step = this.#frames[this.#at]?.step;
    this.#frames = samples;
    const there = samples.findIndex((one) => one.step >= step);
    const last = samples.length - 1;
    this.#show(this.#isLive || there < 0 ? last : there, { keepsLive: true });
    if (last < 1) this.stop();
  }

  /** Shows the sample that was the newest at a step. */
  seek(step) {
    this.stop();
    const found = this.#frames.findLastIndex((one) => one.step <= step);
    this.#show(Math.max(0, found));
  }

  /** Stops playing. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#play.textContent = t("Play");
  }

  #toggle() {
    if (this.#timer) {
      this.stop();
      return;
    }
    if (this.#frames.length < 2) return;
    this.#play.textContent = t("Pause");
    if (this.#at === this.#frames.length - 1) this.#show(0);
    this.#timer = setInterval(() => {
      if (this.#at < this.#frames.length - 1) this.#show(this.#at + 1);
      if (this.#at === this.#frames.length - 1) this.stop();
    }, STAY);
  }

  #show(at, { keepsLive = false } = {}) {
    const frames = this.#frames;
    const frame = frames[at] ?? null;
    this.#at = frame ? at : -1;
    if (!keepsLive) this.#isLive = at === frames.length - 1;
    this.controls.hidden = frames.length < 2;
    this.stage.hidden = !frame;
    this.#shown(frame?.step ?? null);
    if (!frame) return;
    this.#slider.max = frames.length - 1;
    this.#slider.value = at;
    this.#slider.setAttribute("aria-valuetext", stepOf(frame));
    this.#ends[0].textContent = stepOf(frames[0]);
    this.#ends[1].textContent = stepOf(frames.at(-1));
    this.#title.replaceChildren(...titleOf(frame));
    this.#text.textContent = frame.text;
  }
}

const stepOf = ({ step }) => t("Step {step}", { step: number(step) });

/** The heading of a sample: its step, and what is unusual about it. */
export function titleOf({ step, temperature, style }) {
  const warmth = temperature === 1 ? null : t("temperature {temperature}", { temperature });
  const unusual = [style, warmth].filter(Boolean).join(", ");
  return [stepOf({ step }), ...(unusual ? [el("span", { class: "soft" }, ` ${unusual}`)] : [])];
}
