// The arithmetic of the loss chart: what it shows, and where.

import assert from "node:assert/strict";
import { test } from "node:test";
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
} from "../../app/static/js/parts/chart/scales.js";

test("a scale maps values to pixels and back", () => {
  const y = scale(1, 3, 200, 0);
  assert.deepEqual([y(1), y(2), y(3), y(4)], [200, 100, 0, -100]);
  assert.equal(y.invert(50), 2.5);
  // A single value stands at the beginning.
  assert.equal(scale(5, 5, 10, 20)(5), 10);
});

test("ticks are round numbers within the range", () => {
  assert.deepEqual(ticks(0, 600, 6), [0, 100, 200, 300, 400, 500, 600]);
  assert.deepEqual(ticks(1.07, 2.43, 5), [1.5, 2]);
  assert.deepEqual(ticks(0, 0.3, 3), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(ticks(0, 1, 6), [0, 0.2, 0.4, 0.6, 0.8, 1]);
});

test("times are divided as clocks divide them", () => {
  assert.deepEqual(timeTicks(45, 6), [0, 10, 20, 30, 40]);
  assert.deepEqual(timeTicks(180, 6), [0, 30, 60, 90, 120, 150, 180]);
  assert.deepEqual(timeTicks(7000, 3), [0, 3600]);
  assert.deepEqual(timeTicks(4 * 86400, 4), [0, 86400, 172800, 259200, 345600]);
});

test("the first fiftieth of the steps does not stretch the chart", () => {
  const falling = [
    [1, 4.5],
    [19, 3],
    [20, 2],
    [1000, 1],
  ];
  assert.deepEqual(frameOf(falling), { last: 1000, low: 0.94, high: 2.06 });
  // Even where it is all that there is.
  assert.equal(frameOf([[1, 4.5]]).last, 1);
  assert.deepEqual(frameOf([[1, 4.5]]), { last: 1, low: 4.4, high: 4.6 });
  assert.deepEqual(frameOf([[0, 4.5]]), { last: 1, low: 4.4, high: 4.6 });
});

test("levels are in sight", () => {
  const { low, high } = frameOf([[100, 2]], [1, 3]);
  assert.deepEqual([low, high], [0.88, 3.12]);
});

test("no more points are drawn than pixels, and no peak is lost", () => {
  const points = Array.from({ length: 1000 }, (_, i) => [i, i % 100 === 37 ? 9 : (i * 7) % 5]);
  const drawn = thinned(points, 100);
  assert.ok(drawn.length <= 100);
  assert.ok(drawn.every(([step], i) => i === 0 || step >= drawn[i - 1][0]));
  assert.equal(drawn.filter(([, value]) => value === 9).length, 10);
  assert.equal(thinned(points, 1000), points);
});

test("the value at a step is that of the last point before it", () => {
  const points = [
    [10, 3],
    [20, 2],
  ];
  assert.deepEqual(
    [9, 10, 15, 20, 99].map((step) => pointAt(points, step)?.[1] ?? null),
    [null, 3, 3, 2, 2],
  );
});

test("one points at the nearest of all steps", () => {
  const steps = stepsOf([
    [30, 1],
    [10, 2],
    [30, 3],
    [20, 4],
  ]);
  assert.deepEqual(steps, [10, 20, 30]);
  assert.deepEqual(
    [-5, 14, 16, 31].map((wanted) => nearestStep(steps, wanted)),
    [10, 10, 20, 30],
  );
});

test("a path goes through its points", () => {
  const x = scale(0, 10, 0, 100);
  const points = [
    [0, 1],
    [5, 2.25],
  ];
  assert.equal(
    pathOf(points, x, (value) => value),
    "M0.0 1.0L50.0 2.3",
  );
});
