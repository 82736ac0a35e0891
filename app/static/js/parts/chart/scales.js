// The arithmetic of a chart: which values it shows, where they stand, and how many of its points
// are worth drawing. Knows no element.

import { lastAtOrBefore } from "../search.js";

/** A linear map of values to pixels; its `invert` maps back. */
export function scale(from, to, start, end) {
  const span = to - from || 1;
  const map = (value) => start + ((value - from) / span) * (end - start);
  map.invert = (pixel) => from + ((pixel - start) / (end - start)) * span;
  return map;
}

/** Round numbers within a range, about `many`. */
export function ticks(from, to, many) {
  const rough = (to - from) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(from / size); i * size <= to + size * 1e-9; i++)
    found.push(Number((i * size).toPrecision(12)));
  return found;
}

/**
 * What a chart of losses shows: steps from 0 to `last`, losses from `low` to `high`.
 *
 * The first fiftieth of the steps falls from so high that it would flatten the rest, so it may
 * leave the frame.
 *
 * @param {[step: number, loss: number][]} points at least one
 * @param {number[]} levels losses that must be in sight as well
 */
export function frameOf(points, levels = []) {
  const last = Math.max(1, ...points.map(([step]) => step));
  const settled = points.filter(([step]) => step >= last / 50);
  const values = [...settled.map(([, value]) => value), ...levels];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low) * 0.06 || 0.1;
  return { last, low: low - room, high: high + room };
}

/** The steps of all points, each once, in order. */
export const stepsOf = (points) => [...new Set(points.map(([step]) => step))].sort((a, b) => a - b);

/** No more points than pixels: of those that share one, the lowest and the highest. */
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

/** The step that is nearest to a value. */
export const nearestStep = (steps, wanted) =>
  steps.reduce((best, step) => (Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best));

/** The `d` of an SVG path through points. */
export const pathOf = (points, x, y) =>
  points
    .map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
