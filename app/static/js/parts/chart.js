// Losses over steps, as SVG: lines, axes, a legend, and what they are where one points. And a
// sparkline of the same. Knows nothing of jobs and models.

import { el, loss, number, svg } from "../ui.js";

const MARGIN = { top: 12, right: 16, bottom: 40, left: 46 };
const bpc = (value) => loss(value / Math.LN2);

/**
 * A chart that is redrawn by `update`.
 *
 * @param {{label: string, height?: number}} options
 * A series is `{name, className, points: [[step, loss], …], dots}`; a level is `{name, value}`,
 * drawn across.
 */
export function chart({ label, height = 340 }) {
  const drawing = svg("svg", {
    class: "drawing",
    height,
    role: "img",
    "aria-label": label,
    tabindex: "0",
  });
  const legend = el("ul", { class: "legend" });
  const tip = el("div", { class: "tip", hidden: true, "aria-live": "polite" });
  const root = el("figure", { class: "chart" }, legend, el("div", { class: "plot" }, drawing, tip));
  let series = [];
  let levels = [];
  let width = 0;
  let steps = [];
  let pointed = null;
  let frame = 0;

  new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    if (width) draw();
  }).observe(drawing.parentElement);

  function update(newSeries, newLevels = []) {
    series = newSeries.filter(({ points }) => points.length);
    levels = newLevels.filter(({ value }) => Number.isFinite(value));
    frame ||= requestAnimationFrame(draw);
  }

  let x, y;

  function draw() {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!width) return;
    const all = series.flatMap(({ points }) => points);
    steps = [];
    if (!all.length) {
      drawing.setAttribute("width", width);
      return drawing.replaceChildren(
        write(width / 2, height / 2, "The curve begins with the first step.", "middle"),
      );
    }
    const last = Math.max(1, ...all.map(([step]) => step));
    // The first fiftieth falls from so high that it would flatten all the rest: it may leave the frame.
    const settled = all.filter(([step]) => step >= last / 50);
    const values = [...settled.map(([, value]) => value), ...levels.map(({ value }) => value)];
    const low = Math.min(...values);
    const high = Math.max(...values);
    const room = (high - low) * 0.06 || 0.1;
    x = scale(0, last, MARGIN.left, width - MARGIN.right);
    y = scale(low - room, high + room, height - MARGIN.bottom, MARGIN.top);
    steps = [...new Set(all.map(([step]) => step))].sort((a, b) => a - b);

    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", width);
    const grid = svg("g", { class: "axes" });
    for (const value of ticks(low - room, high + room, 5)) {
      grid.append(
        svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
        write(MARGIN.left - 8, y(value) + 4, tickText(value), "end"),
      );
    }
    for (const step of ticks(0, last, width < 500 ? 3 : 6)) {
      if (Number.isInteger(step))
        grid.append(write(x(step), height - MARGIN.bottom + 20, number(step), "middle"));
    }
    grid.append(write(width - MARGIN.right, height - 4, "steps", "end"));
    const lines = series.map(({ className, points, dots }) =>
      svg(
        "g",
        { class: `series ${className}` },
        svg("path", { d: path(thinned(points, width)) }),
        ...(dots && points.length < 60
          ? points.map(([step, value]) => svg("circle", { cx: x(step), cy: y(value), r: 3 }))
          : []),
      ),
    );
    const across = levels.map(({ value }) =>
      svg("line", {
        class: "level",
        x1: MARGIN.left,
        x2: width - MARGIN.right,
        y1: y(value),
        y2: y(value),
      }),
    );
    // An SVG in an SVG cuts off what leaves it.
    const tall = height - MARGIN.top - MARGIN.bottom;
    const place = {
      y: MARGIN.top,
      width,
      height: tall,
      viewBox: `0 ${MARGIN.top} ${width} ${tall}`,
    };
    const plot = svg("svg", place, ...across, ...lines);
    drawing.replaceChildren(grid, plot, svg("g", { class: "pointer" }));
    legend.replaceChildren(
      ...series.map(({ name, className, points }) => entry(name, className, points.at(-1)[1])),
      ...levels.map(({ name, value }) => entry(name, "level", value)),
    );
    point(pointed);
  }

  const entry = (name, className, value) =>
    el(
      "li",
      { class: className },
      el("span", { class: "key" }),
      name,
      " ",
      el("strong", {}, loss(value)),
    );

  const path = (points) =>
    points
      .map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`)
      .join("");

  // Pointing

  function point(step) {
    pointed = step;
    const place = drawing.querySelector(".pointer");
    tip.hidden = step === null || !steps.length;
    place?.replaceChildren();
    if (tip.hidden) return;
    const found = series
      .map((one) => ({ ...one, at: nearest(one.points, step) }))
      .filter(({ at }) => at);
    place.append(
      svg("line", { x1: x(step), x2: x(step), y1: MARGIN.top, y2: height - MARGIN.bottom }),
      ...found.map(({ className, at }) =>
        svg("circle", { class: className, cx: x(at[0]), cy: y(at[1]), r: 4 }),
      ),
    );
    tip.replaceChildren(
      el("p", {}, `Step ${number(step)}`),
      ...found.map(({ name, at }) =>
        el(
          "p",
          {},
          `${name} `,
          el("strong", {}, loss(at[1])),
          el("span", { class: "soft" }, ` ${bpc(at[1])} bpc`),
        ),
      ),
      ...levels.map(({ name, value }) => el("p", {}, `${name} `, el("strong", {}, loss(value)))),
    );
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.max(half, Math.min(width - half, x(step)))}px`;
  }

  drawing.addEventListener("pointermove", (event) => {
    if (!steps.length) return;
    const box = drawing.getBoundingClientRect();
    const wanted = x.invert(event.clientX - box.left);
    point(
      steps.reduce((best, step) =>
        Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best,
      ),
    );
  });
  drawing.addEventListener("pointerleave", () => point(null));
  drawing.addEventListener("blur", () => point(null));
  drawing.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || !steps.length) return;
    event.preventDefault();
    const at = pointed === null ? steps.length - 1 : steps.indexOf(pointed) + moves[event.key];
    point(steps[Math.max(0, Math.min(steps.length - 1, at))]);
  });

  return { root, update };
}

/** A line without axes, as wide as its place. */
export function sparkline(points, label) {
  const [width, height] = [120, 32];
  const values = points.map(([, value]) => value);
  const x = scale(points[0][0], points.at(-1)[0], 2, width - 2);
  const y = scale(Math.min(...values), Math.max(...values), height - 4, 4);
  const d = thinned(points, width)
    .map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
  return svg(
    "svg",
    {
      class: "sparkline",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": label,
      preserveAspectRatio: "none",
    },
    svg("path", { d, "vector-effect": "non-scaling-stroke" }),
  );
}

function scale(from, to, start, end) {
  const span = to - from || 1;
  const map = (value) => start + ((value - from) / span) * (end - start);
  map.invert = (pixel) => from + ((pixel - start) / (end - start)) * span;
  return map;
}

/** Round numbers within a range, about `many`. */
function ticks(from, to, many) {
  const rough = (to - from) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(from / size); i * size <= to + size * 1e-9; i++)
    found.push(Number((i * size).toPrecision(12)));
  return found;
}

const tickFormat = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const tickText = (value) => tickFormat.format(value);

function write(x, y, text, anchor) {
  return svg("text", { x, y, "text-anchor": anchor }, text);
}

/** No more points than pixels: of those that fall together, the lowest and the highest. */
function thinned(points, width) {
  if (points.length <= width) return points;
  const size = Math.ceil((2 * points.length) / width);
  const kept = [];
  for (let i = 0; i < points.length; i += size) {
    const group = points.slice(i, i + size);
    const low = group.reduce((best, point) => (point[1] < best[1] ? point : best));
    const high = group.reduce((best, point) => (point[1] > best[1] ? point : best));
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

/** The last point at or before a step. */
function nearest(points, step) {
  let found = null;
  for (const point of points) {
    if (point[0] > step) break;
    found = point;
  }
  return found;
}
