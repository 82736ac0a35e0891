// The arithmetic of a chart: range, scales, ticks, and the points worth drawing. Knows no element.

import { lastAtOrBefore } from "../search.js";

/** A linear map from values to pixels; its `invert` maps back. */
export function scale(from, to, start, end) {
  const span = to - from || 1;
  const map = (value) => start + ((value - from) / span) * (end - start);
  map.invert = (pixel) => from + ((pixel - start) / (end - start)) * span;
  return map;
}

/** About `many` round numbers within a range. */
export function ticks(from, to, many) {
  const rough = (to - from) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(from / size); i * size <= to + size * 1e-9; i++)
    found.push(Number((i * size).toPrecision(12)));
  return found;
}

const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];

/** About `many` times from 0 to `last`, as clocks divide them; in seconds. */
export function timeTicks(last, many) {
  const size = TIMES.find((time) => time >= last / many);
  if (!size) return ticks(0, last / 86400, many).map((days) => days * 86400);
  return Array.from({ length: Math.floor(last / size) + 1 }, (_, i) => i * size);
}

/**
 * The range of a chart of losses: steps from 0 to `last`, losses from `low` to `high`.
 *
 * In the first fiftieth of the steps the loss falls from so high that it would flatten the rest:
 * it may leave the frame.
 *
 * @param {[step: number, loss: number][]} points at least one
 * @param {number[]} levels losses that the range includes as well
 */
export function frameOf(points, levels = []) {
  const last = Math.max(1, ...points.map(([step]) => step));
  const settled = points.filter(([step]) => step >= last / 50);
  // Before the first step there may be nothing else.
  const shown = settled.length ? settled : points;
  const values = [...shown.map(([, value]) => value), ...levels];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low) * 0.06 || 0.1;
  return { last, low: low - room, high: high + room };
}

/** The steps of all points, sorted, without duplicates. */
export const stepsOf = (points) => [...new Set(points.map(([step]) => step))].sort((a, b) => a - b);

/** At most as many points as pixels: of each group, the lowest and the highest. */
export function thinned(points, width) {
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

/** The last point at or before a step; null if there is none. */
export const pointAt = (points, step) => points[lastAtOrBefore(points, step, ([at]) => at)] ?? null;

/** The step closest to a value. */
export const nearestStep = (steps, wanted) =>
  steps.reduce((best, step) => (Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best));

/** The `d` of an SVG path through points. */
export const pathOf = (points, x, y) =>
  points
    .map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
