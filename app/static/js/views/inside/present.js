// A cell for a whole class: one passage on the whole screen, played character by character, with the
// cell's value as a curve and the truth below it. Knows no server: passages come from its caller.

import { Latest, wasAborted } from "../../api.js";
import { t } from "../../language.js";
import { el, glyph, hundredths, number, reducedMotion, select, spoken, svg } from "../../ui.js";
import { Stage } from "./present/stage.js";
import { correlation, saysYes, tally, verdicts } from "./verdicts.js";

/** Characters a second. */
const SPEEDS = [
  [4, t("Slow")],
  [9, t("Normal")],
  [20, t("Fast")],
];

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  next: "M5 5v14l9-7zM15 5h3v14h-3z",
  previous: "M19 5v14l-9-7zM6 5h3v14H6z",
  forward: "M9 6l6 6-6 6 2 2 8-8-8-8z",
  back: "M15 6l-6 6 6 6-2 2-8-8 8-8z",
  close: "M6 4l6 6 6-6 2 2-6 6 6 6-2 2-6-6-6 6-2-2 6-6-6-6z",
};

const KEYS = {
  " ": "toggle",
  ArrowRight: "forward",
  ArrowLeft: "back",
  Home: "toStart",
  End: "toEnd",
  // Those of the small remote controls that lecturers hold, too.
  ArrowDown: "next",
  PageDown: "next",
  ArrowUp: "previous",
  PageUp: "previous",
};

export class Present {
  #about;
  #slides;
  #moved;
  #slide = 0;
  #shown = null;
  #at = -1;
  #timer = null;
  #loading = new Latest();
  #watch = new ResizeObserver(() => this.#lay());
  #leftFullscreen = () => document.fullscreenElement || this.root.close();

  #count = el("p", { class: "present-count", role: "status" });
  #now = el("p", { class: "present-now" });
  #number = el("span", { class: "present-number" });
  #speed = select(
    SPEEDS.map(([speed, name]) => [String(speed), name]),
    { "aria-label": t("Speed"), name: "speed" },
  );
  #play = control(t("Play"), "play", () => this.toggle());
  #stage = new Stage();

  /**
   * @param {object} about `{title, lead, tracked}`: what the cell tracks and its name in words, and
   *   what is known of it: `{metric, sign, threshold}`, or null
   * @param {{load: (signal: AbortSignal) => Promise<{chars: string[], values: ArrayLike<number>,
   *   truth: (number | null)[] | null}>}[]} slides
   * @param {(slide: number | null) => void} moved is called with the number of each slide that is
   *   shown, and with null at the end
   */
  constructor(about, slides, moved) {
    this.#about = about;
    this.#slides = slides;
    this.#moved = moved;
    this.#speed.value = "9";
    this.root = this.#page();
    this.root.addEventListener("keydown", (event) => this.#pressed(event));
    this.root.addEventListener("close", () => this.#closed());
  }

  #page() {
    const { title, lead } = this.#about;
    const next = control(t("Next example"), "next", () => this.next());
    const previous = control(t("Previous example"), "previous", () => this.previous());
    return el(
      "dialog",
      { class: "present", "aria-labelledby": "present-title" },
      el(
        "div",
        { class: "present-head" },
        el("div", {}, el("h2", { id: "present-title" }, title), el("p", {}, lead)),
        control(t("Close"), "close", () => this.root.close()),
      ),
      this.#stage.root,
      el("div", { class: "present-told" }, this.#now, this.#count),
      el(
        "div",
        { class: "present-foot" },
        this.#legend(),
        el(
          "div",
          { class: "present-keys" },
          previous,
          control(t("Back one character"), "back", () => this.back()),
          this.#play,
          control(t("Forward one character"), "forward", () => this.forward()),
          next,
          this.#speed,
        ),
        this.#number,
      ),
    );
  }

  #legend() {
    const sign = (name, text) => el("span", { class: `sign ${name}` }, text);
    return el(
      "p",
      { class: "present-legend" },
      sign("is-excited", t("excited")),
      sign("is-quiet", t("quiet")),
      this.#about.tracked ? sign(this.#isYesNo ? "is-true" : "is-number", t("the truth")) : null,
      this.#isYesNo ? sign("is-miss", t("a miss")) : null,
    );
  }

  get #isYesNo() {
    const { threshold } = this.#about.tracked ?? {};
    return threshold !== null && threshold !== undefined;
  }

  /** Fills the screen, beginning with a slide. */
  async open(slide = 0) {
    document.body.append(this.root);
    // Before the dialog, which then lies above. It may be refused: a window will do.
    await document.documentElement.requestFullscreen?.().catch(() => {});
    this.root.showModal();
    this.#stage.root.focus();
    document.addEventListener("fullscreenchange", this.#leftFullscreen);
    this.#watch.observe(this.#stage.root);
    await this.#show(Math.min(slide, this.#slides.length - 1));
  }

  #closed() {
    this.#pause();
    this.#loading.abort();
    this.#watch.disconnect();
    document.removeEventListener("fullscreenchange", this.#leftFullscreen);
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    this.root.remove();
    this.#moved(null);
  }

  async #show(slide) {
    this.#pause();
    this.#slide = slide;
    this.#moved(slide);
    this.#number.textContent = t("Example {n} of {all}", {
      n: number(slide + 1),
      all: number(this.#slides.length),
    });
    this.#stage.busy = true;
    this.#shown = null;
    this.#at = -1;
    this.#now.textContent = t("Reading …");
    this.#count.textContent = "";
    try {
      const found = await this.#slides[slide].load(this.#loading.begin());
      const truth = found.truth ?? found.chars.map(() => null);
      const { tracked } = this.#about;
      const judged = verdicts(found.values, truth, tracked);
      this.#shown = { ...found, truth, verdicts: judged, tracked };
    } catch (error) {
      if (wasAborted(error)) return;
      this.#now.textContent = "";
      this.#stage.say(error.message);
      return;
    }
    this.#stage.busy = false;
    this.#lay();
    // Who wants no motion sees it all at once.
    if (reducedMotion()) this.#go(this.#last);
    else {
      this.#go(0);
      this.#run();
    }
  }

  #lay() {
    if (!this.#shown) return;
    this.#stage.lay(this.#shown);
    this.#stage.play(this.#at);
  }

  get #last() {
    return (this.#shown?.chars.length ?? 0) - 1;
  }

  // Playing

  toggle() {
    if (this.#timer) this.#pause();
    else if (this.#shown) {
      if (this.#at >= this.#last) this.#go(0);
      this.#run();
    }
  }

  forward() {
    this.#step(this.#at + 1);
  }

  back() {
    this.#step(this.#at - 1);
  }

  toStart() {
    this.#step(0);
  }

  toEnd() {
    this.#step(this.#last);
  }

  next() {
    this.#show((this.#slide + 1) % this.#slides.length);
  }

  previous() {
    this.#show((this.#slide + this.#slides.length - 1) % this.#slides.length);
  }

  #run() {
    this.#now.setAttribute("aria-live", "off");
    this.#label("pause", t("Pause"));
    this.#timer = setTimeout(() => {
      if (this.#at >= this.#last) return this.#pause();
      this.#go(this.#at + 1);
      this.#run();
    }, 1000 / Number(this.#speed.value));
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#label("play", t("Play"));
    this.#tellScore();
  }

  #label(name, label) {
    this.#play.setAttribute("aria-label", label);
    this.#play.title = label;
    this.#play.replaceChildren(icon(name));
  }

  #step(to) {
    if (!this.#shown) return;
    this.#pause();
    this.#now.setAttribute("aria-live", "polite");
    this.#go(Math.max(0, Math.min(this.#last, to)));
    this.#tellScore();
  }

  #go(to) {
    this.#at = to;
    this.#stage.play(to);
    this.#tellCharacter();
    if (to >= this.#last) this.#tellScore();
  }

  #tellCharacter() {
    const { chars, values, truth, verdicts: judged } = this.#shown;
    const char = el("strong", { "aria-label": spoken(chars[this.#at]) }, glyph(chars[this.#at]));
    const words = inWords(values[this.#at], truth[this.#at], judged[this.#at], this.#about.tracked);
    this.#now.replaceChildren(char, ` ${words}`);
  }

  #tellScore() {
    if (!this.#shown) return;
    const { values, truth, verdicts: judged } = this.#shown;
    const end = this.#at + 1;
    if (this.#isYesNo) {
      const { right, of } = tally(judged, end);
      this.#count.textContent = t("Right in {right} of {of} characters", {
        right: number(right),
        of: number(of),
      });
    } else if (this.#about.tracked?.metric === "correlation") {
      const found = correlation(Array.from(values).slice(0, end), truth.slice(0, end));
      this.#count.textContent = t("Correlation {score}", { score: hundredths(found) });
    } else this.#count.textContent = "";
  }

  #pressed(event) {
    const command = KEYS[event.key];
    const isInControl = event.target === this.#speed;
    if (!command || isInControl || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this[command]();
  }
}

/** What a cell shows at a character, and whether it is right, in a sentence. */
export function inWords(value, truth, verdict, tracked) {
  const shown = { activation: hundredths(value) };
  if (truth === null || truth === undefined) return t("activation {activation}", shown);
  if (verdict === null)
    return t("activation {activation}; in truth {truth}", { ...shown, truth: number(truth) });
  const values = { ...shown, said: yesOrNo(saysYes(value, tracked)), truth: yesOrNo(truth) };
  return verdict
    ? t("activation {activation}; the cell says {said}, the truth is {truth}: right ✓", values)
    : t("activation {activation}; the cell says {said}, the truth is {truth}: a miss ✗", values);
}

const yesOrNo = (holds) => (holds ? t("yes") : t("no"));

const icon = (name) => {
  const picture = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  picture.append(svg("path", { d: ICONS[name] }));
  return picture;
};

const control = (label, name, click) =>
  el(
    "button",
    { type: "button", class: "icon", "aria-label": label, title: label, on: { click } },
    icon(name),
  );
