// Losses over steps or time as an SVG: lines, axes, a legend, and the values at the pointer. Also a
// sparkline. Knows no job and no model.

import { LANGUAGE, t } from "../language.js";
import { duration, el, loss, number, svg } from "../ui.js";
import {
  frameOf,
  nearestStep,
  pathOf,
  pointAt,
  scale,
  stepsOf,
  thinned,
  ticks,
  timeTicks,
} from "./chart/scales.js";

const HEIGHT = 340;
const MARGIN = { top: 12, right: 16, bottom: 40, left: 46 };
/** A series of this many points or more is a line without dots. */
const MOST_DOTS = 60;
const MOVES = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

const tickFormat = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 3 });
const bpc = (value) => loss(value / Math.LN2);

/** What losses may be over: the name of the axis, its ticks, and a place on it in words. */
export const STEPS = {
  name: t("steps"),
  ticks: (last, many) => ticks(0, last, many).filter(Number.isInteger),
  label: number,
  place: (step) => t("Step {step}", { step: number(step) }),
};
export const SECONDS = {
  name: t("training time"),
  ticks: (last, many) => timeTicks(last, many),
  label: duration,
  place: (seconds) => t("After {time}", { time: duration(seconds) }),
};

/**
 * A chart of series and levels. A series is `{name, className, points: [[step, loss], …], dots}`,
 * its points sorted by step; a level is `{name, value}`, drawn across. Instead of steps it may be
 * over seconds.
 */
export class Chart {
  #series = [];
  #levels = [];
  #axis = STEPS;
  #width = 0;
  #x = null;
  #y = null;
  #steps = [];
  #pointed = null;
  #marked = null;
  #frame = 0;
  #drawing;
  #legend = el("ul", { class: "legend" });
  #tip = el("div", { class: "tip", hidden: true, "aria-live": "polite" });

  /** `pick` gets the place that is clicked. */
  constructor(label, { pick = null } = {}) {
    this.#drawing = svg("svg", {
      class: "drawing",
      height: HEIGHT,
      role: "img",
      "aria-label": label,
      tabindex: "0",
    });
    const plot = el("div", { class: "plot" }, this.#drawing, this.#tip);
    this.root = el("figure", { class: "chart" }, this.#legend, plot);
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      if (this.#width) this.#draw();
    }).observe(plot);
    this.#listen(pick);
  }

  update(series, levels, axis = STEPS) {
    this.#series = series.filter(({ points }) => points.length);
    this.#levels = levels.filter(({ value }) => Number.isFinite(value));
    this.#axis = axis;
    this.#drawSoon();
  }

  /** Marks a step; null is none. */
  mark(step) {
    if (step === this.#marked) return;
    this.#marked = step;
    this.#drawSoon();
  }

  #drawSoon() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#width) return;
    const points = this.#series.flatMap((series) => series.points);
    this.#steps = stepsOf(points);
    this.#drawing.setAttribute("width", this.#width);
    if (!points.length) {
      const hint = t("The curve begins with the first step.");
      this.#drawing.replaceChildren(caption(this.#width / 2, HEIGHT / 2, hint, "middle"));
      this.#legend.replaceChildren();
      return;
    }
    const levels = this.#levels.map(({ value }) => value);
    const frame = frameOf(points, levels);
    this.#x = scale(0, frame.last, MARGIN.left, this.#width - MARGIN.right);
    this.#y = scale(frame.low, frame.high, HEIGHT - MARGIN.bottom, MARGIN.top);
    this.#drawing.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    this.#drawing.replaceChildren(
      this.#axes(frame),
      this.#mark(frame),
      this.#plot(),
      svg("g", { class: "pointer" }),
    );
    for (const label of this.#drawing.querySelectorAll(".axes text")) this.#moveInside(label);
    this.#legend.replaceChildren(
      ...this.#series.map((one) => legendItem(one.name, one.className, one.points.at(-1)[1])),
      ...this.#levels.map(({ name, value }) => legendItem(name, "level", value)),
    );
    this.#point(this.#pointed);
  }

  #axes({ last, low, high }) {
    const [x, y] = [this.#x, this.#y];
    const right = this.#width - MARGIN.right;
    const axes = svg("g", { class: "axes" });
    for (const value of ticks(low, high, 5)) {
      axes.append(
        svg("line", { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }),
        caption(MARGIN.left - 8, y(value) + 4, tickFormat.format(value), "end"),
      );
    }
    const bottom = HEIGHT - MARGIN.bottom + 20;
    for (const place of this.#axis.ticks(last, this.#width < 500 ? 3 : 6))
      axes.append(caption(x(place), bottom, this.#axis.label(place), "middle"));
    axes.append(caption(right, HEIGHT - 4, this.#axis.name, "end"));
    return axes;
  }

  #mark({ last }) {
    const group = svg("g", { class: "mark" });
    if (this.#marked === null || this.#marked > last) return group;
    const x = this.#x(this.#marked);
    group.append(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
    return group;
  }

  /** Moves a label back that the right edge would cut off. */
  #moveInside(label) {
    const { x, width } = label.getBBox();
    const over = x + width - this.#width;
    if (over > 0) label.setAttribute("x", Number(label.getAttribute("x")) - over);
  }

  /** The lines, in an SVG of their own, which clips them. */
  #plot() {
    const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
    const place = {
      y: MARGIN.top,
      width: this.#width,
      height: tall,
      viewBox: `0 ${MARGIN.top} ${this.#width} ${tall}`,
    };
    const right = this.#width - MARGIN.right;
    const across = this.#levels.map(({ value }) => {
      const y = this.#y(value);
      return svg("line", { class: "level", x1: MARGIN.left, x2: right, y1: y, y2: y });
    });
    return svg("svg", place, ...across, ...this.#series.map((series) => this.#line(series)));
  }

  #line({ className, points, dots }) {
    const d = pathOf(thinned(points, this.#width), this.#x, this.#y);
    const marked = dots && points.length < MOST_DOTS ? points : [];
    return svg(
      "g",
      { class: `series ${className}` },
      svg("path", { d }),
      ...marked.map(([step, value]) =>
        svg("circle", { cx: this.#x(step), cy: this.#y(value), r: 3 }),
      ),
    );
  }

  // Pointing

  #listen(pick) {
    if (pick)
      this.#drawing.addEventListener("click", () => this.#pointed !== null && pick(this.#pointed));
    this.#drawing.addEventListener("pointermove", (event) => {
      if (!this.#steps.length) return;
      const { left } = this.#drawing.getBoundingClientRect();
      this.#point(nearestStep(this.#steps, this.#x.invert(event.clientX - left)));
    });
    this.#drawing.addEventListener("pointerleave", () => this.#point(null));
    this.#drawing.addEventListener("blur", () => this.#point(null));
    this.#drawing.addEventListener("keydown", (event) => {
      if (!(event.key in MOVES) || !this.#steps.length) return;
      event.preventDefault();
      const last = this.#steps.length - 1;
      const at =
        this.#pointed === null ? last : this.#steps.indexOf(this.#pointed) + MOVES[event.key];
      this.#point(this.#steps[Math.max(0, Math.min(last, at))]);
    });
  }

  #point(step) {
    this.#pointed = step;
    const pointer = this.#drawing.querySelector(".pointer");
    pointer?.replaceChildren();
    this.#tip.hidden = step === null || !this.#steps.length;
    if (this.#tip.hidden) return;
    const [x, y] = [this.#x(step), this.#y];
    const found = this.#series
      .map((series) => ({ ...series, at: pointAt(series.points, step) }))
      .filter(({ at }) => at);
    pointer.append(
      svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      ...found.map(({ className, at }) =>
        svg("circle", { class: className, cx: this.#x(at[0]), cy: y(at[1]), r: 4 }),
      ),
    );
    this.#tip.replaceChildren(...tipLines(this.#axis.place(step), found, this.#levels));
    const half = this.#tip.offsetWidth / 2;
    this.#tip.style.left = `${Math.max(half, Math.min(this.#width - half, x))}px`;
  }
}

/** A line without axes, as wide as its container. */
export function sparkline(points, label) {
  const [width, height] = [120, 32];
  const values = points.map(([, value]) => value);
  const x = scale(points[0][0], points.at(-1)[0], 2, width - 2);
  const y = scale(Math.min(...values), Math.max(...values), height - 4, 4);
  return svg(
    "svg",
    {
      class: "sparkline",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": label,
      preserveAspectRatio: "none",
    },
    svg("path", { d: pathOf(thinned(points, width), x, y), "vector-effect": "non-scaling-stroke" }),
  );
}

function caption(x, y, text, anchor) {
  return svg("text", { x, y, "text-anchor": anchor }, text);
}

function legendItem(name, className, value) {
  const key = el("span", { class: "key" });
  return el("li", { class: className }, key, name, " ", el("strong", {}, loss(value)));
}

function tipLines(place, found, levels) {
  const line = (name, value, ...more) =>
    el("p", {}, `${name} `, el("strong", {}, loss(value)), ...more);
  return [
    el("p", {}, place),
    ...found.map(({ name, at: [, value] }) =>
      line(
        name,
        value,
        el("span", { class: "soft" }, ` ${t("{value} bpc", { value: bpc(value) })}`),
      ),
    ),
    ...levels.map(({ name, value }) => line(name, value)),
  ];
}
