// Runs beside each other: the choice, its address, the table's order and columns, and who follows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Connections } from "../../app/static/js/views/job/following.js";
import { Record } from "../../app/static/js/views/job/record.js";
import {
  addressOf,
  differing,
  directionOf,
  firstChoice,
  levelsOf,
  namesOf,
  sortedRuns,
  wanted,
} from "../../app/static/js/views/train/compare/runs.js";

const ID = (n) => String(n).padStart(22, "0");

const run = (n, more = {}) => ({
  id: ID(n),
  model: `m${n}`,
  corpus_id: "a",
  created_at: `2026-01-0${n}T00:00:00.000Z`,
  options: {},
  progress: { step: 10 * n, best_val_loss: 3 - n / 10 },
  baseline: null,
  ...more,
});

test("an address holds the choice, and comes back the same", () => {
  const chosen = {
    jobs: [ID(2), ID(1)],
    by: "seconds",
    loss: "training",
    sort: "learning_rate",
    isReversed: true,
  };
  const address = addressOf(chosen);
  const query = `jobs=${ID(2)},${ID(1)}&by=seconds&loss=training&sort=-learning_rate`;
  assert.equal(address, `/train/compare?${query}`);
  assert.deepEqual(wanted(new URL(address, "http://x").searchParams), chosen);
});

test("an address may say nothing, or nonsense", () => {
  const usual = { jobs: null, by: "steps", loss: "validation", sort: "created", isReversed: false };
  assert.deepEqual(wanted(new URLSearchParams()), usual);
  assert.equal(addressOf(usual), "/train/compare");
  const odd = new URLSearchParams(`jobs=../x,${ID(1)},${ID(1)}&by=moons&loss=all`);
  assert.deepEqual(wanted(odd), { ...usual, jobs: [ID(1)] });
  const none = wanted(new URLSearchParams("jobs="));
  assert.deepEqual(none.jobs, []);
  assert.equal(addressOf(none), "/train/compare?jobs=");
  const many = wanted(new URLSearchParams(`jobs=${[1, 2, 3, 4, 5, 6, 7].map(ID)}`));
  assert.equal(many.jobs.length, 6);
});

test("one begins with the newest run, and with others of its text", () => {
  const waiting = run(5, { progress: null });
  const jobs = [waiting, run(4), run(3, { corpus_id: "b" }), run(2), run(1)];
  assert.deepEqual(firstChoice(jobs), [ID(4), ID(2), ID(1)]);
  assert.deepEqual(firstChoice([waiting]), [ID(5)]);
  assert.deepEqual(firstChoice([]), []);
});

test("the options in which runs differ", () => {
  const one = run(1, { options: { seed: 1, dropout: 0, sample_at: [1, 2], tokens: null } });
  const other = run(2, { options: { seed: 1, dropout: 0.5, sample_at: [1, 2], devices: 2 } });
  assert.deepEqual(differing([one, other]), ["devices", "dropout"]);
  assert.deepEqual(differing([one]), []);
});

test("runs are sorted by a figure or an option, what is not known last", () => {
  const jobs = [run(1), run(2, { options: { seed: 9 } }), run(3, { progress: null })];
  const order = (sort, isReversed = false) =>
    sortedRuns(jobs, { sort, isReversed }).map(({ model }) => model);
  assert.deepEqual(order("created"), ["m3", "m2", "m1"]);
  assert.deepEqual(order("created", true), ["m1", "m2", "m3"]);
  assert.deepEqual(order("loss"), ["m2", "m1", "m3"]);
  assert.deepEqual(order("loss", true), ["m1", "m2", "m3"]);
  assert.deepEqual(order("step"), ["m2", "m1", "m3"]);
  assert.deepEqual(order("seed"), ["m2", "m3", "m1"]);
  assert.equal(directionOf("loss", { sort: "loss", isReversed: false }), "ascending");
  assert.equal(directionOf("step", { sort: "step", isReversed: false }), "descending");
  assert.equal(directionOf("step", { sort: "loss", isReversed: false }), "none");
});

test("runs of one model are told apart", () => {
  const same = { model: "linux" };
  const names = namesOf([run(1, same), run(2, same), run(3), run(4, { model: "" })]);
  assert.deepEqual([...names.values()], ["linux 0001", "linux 0002", "m3", "? 0004"]);
});

test("each baseline is a level once, with its run's name where there are several", () => {
  const five = { ngram_order: 5, val_loss: 2 };
  const jobs = [run(1, { baseline: five }), run(2, { baseline: five }), run(3)];
  const names = namesOf(jobs);
  assert.deepEqual(levelsOf(jobs, names), [{ value: 2, name: "5-gram baseline" }]);
  const other = run(4, { baseline: { ngram_order: 7, val_loss: 1.5 } });
  const levels = levelsOf([...jobs, other], namesOf([...jobs, other]));
  assert.deepEqual(
    levels.map(({ name }) => name),
    ["5-gram baseline, m1", "7-gram baseline, m4"],
  );
});

test("losses over time lie between the times that are known", () => {
  const record = new Record();
  const tell = (id, step, seconds) =>
    record.add({
      id: String(id),
      event: "progress",
      data: JSON.stringify({ step, train_loss: 1, elapsed_seconds: seconds }),
    });
  tell(1, 10, 5);
  tell(2, 20, 25);
  const points = [
    [0, 4],
    [5, 3],
    [15, 2],
    [20, 1],
    [30, 0],
  ];
  assert.deepEqual(record.inSeconds(points), [
    [0, 4],
    [2.5, 3],
    [15, 2],
    [25, 1],
    [25, 0],
  ]);
});

test("connections are shared, and an error gives its own back", async () => {
  const connections = new Connections(1);
  const order = [];
  const { promise, resolve } = Promise.withResolvers();
  const first = connections.use(async () => {
    await promise;
    order.push("first");
  });
  const second = connections.use(async () => {
    order.push("second");
    throw new Error("lost");
  });
  const third = connections.use(async () => order.push("third"));
  assert.equal(connections.isWanted, true);
  resolve();
  await assert.rejects(second, /lost/);
  await Promise.all([first, third]);
  assert.deepEqual(order, ["first", "second", "third"]);
  assert.equal(connections.isWanted, false);
});
