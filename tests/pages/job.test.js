// A job's page: what the events told, and what is made of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bestOf, isCancellable, isEnded, shareOf } from "../../app/static/js/parts/progress.js";
import { Record } from "../../app/static/js/views/job/record.js";
import {
  barOf,
  figuresOf,
  sampleHint,
  titleOf,
  waitingFor,
  withButton,
} from "../../app/static/js/views/job/words.js";

function recordOf(...events) {
  const record = new Record();
  for (const [id, event, data] of events)
    record.add({ id: String(id), event, data: JSON.stringify(data) });
  return record;
}

test("events become losses, samples and progress", () => {
  const progress = { step: 20, train_loss: 2.5 };
  const record = recordOf(
    [1, "progress", { step: 10, train_loss: 3 }],
    [2, "progress", progress],
    [3, "evaluation", { step: 20, val_loss: 2.7 }],
    [4, "sample", { step: 20, text: "abc" }],
  );
  assert.deepEqual(
    [...record.training],
    [
      [10, 3],
      [20, 2.5],
    ],
  );
  assert.deepEqual([...record.validation], [[20, 2.7]]);
  assert.equal(record.samples.get(20).text, "abc");
  assert.deepEqual(record.progress, progress);
  assert.equal(record.lastId, 4);
  assert.equal(record.isPublished, false);
  record.add({ id: "5", event: "checkpoint", data: "{}" });
  assert.equal(record.isPublished, true);
});

test("steps that come again replace what stood from there on", () => {
  const record = recordOf(
    [1, "progress", { step: 10, train_loss: 3 }],
    [2, "progress", { step: 20, train_loss: 2 }],
    [3, "progress", { step: 30, train_loss: 1 }],
    [4, "progress", { step: 15, train_loss: 2.5 }],
  );
  assert.deepEqual(
    [...record.training],
    [
      [10, 3],
      [15, 2.5],
    ],
  );
});

test("a server that tells all again is believed", () => {
  const record = recordOf(
    [1, "progress", { step: 10, train_loss: 3 }],
    [2, "evaluation", { step: 10, val_loss: 2 }],
    [3, "sample", { step: 10, text: "abc" }],
  );
  const again = { id: "1", event: "progress", data: '{"step":10,"train_loss":3}' };
  assert.equal(record.add(again).isRestart, true);
  assert.deepEqual([...record.training], [[10, 3]]);
  assert.equal(record.validation.size + record.samples.size, 0);
  const next = { id: "2", event: "notice", data: '{"code":"plan","text":"x"}' };
  assert.deepEqual(record.add(next), { data: { code: "plan", text: "x" }, isRestart: false });
});

const progress = {
  step: 150,
  max_steps: 600,
  train_loss: 1.5,
  val_loss: 1.7,
  best_val_loss: 1.6,
  chars_per_second: 28_343,
  elapsed_seconds: 40,
  eta_seconds: 125,
};
const running = {
  model: "linux",
  status: "running",
  device: "CPU, 2 threads",
  baseline: { ngram_order: 5, val_loss: 2 },
  options: { sample_at: [300, 100] },
};
const finished = { ...running, status: "finished" };
const cancelled = { ...running, status: "cancelled" };

test("which jobs have ended, and which may be cancelled", () => {
  const states = [
    "queued",
    "running",
    "paused",
    "cancelling",
    "finished",
    "cancelled",
    "failed",
  ].map((status) => [isEnded({ status }), isCancellable({ status })]);
  assert.deepEqual(states, [
    [false, true],
    [false, true],
    [false, true],
    [false, false],
    [true, false],
    [true, false],
    [true, false],
  ]);
});

test("the bar shows the share of the steps", () => {
  assert.equal(shareOf(null), 0);
  assert.equal(shareOf({ step: 5, max_steps: null }), 0);
  assert.equal(shareOf({ step: 700, max_steps: 600 }), 1);
  const timed = { step: 11, max_steps: 100, elapsed_seconds: 8 };
  assert.equal(shareOf(timed, { max_seconds: 20 }), 0.4);
  assert.equal(shareOf(timed, { max_seconds: 1000 }), 0.11);
  assert.equal(shareOf({ ...timed, elapsed_seconds: 21 }, { max_seconds: 20 }), 1);
  assert.equal(barOf({ status: "running", options: { max_seconds: 20 } }, timed), 0.4);
  assert.equal(barOf(null, undefined), 0);
  assert.equal(barOf(running, progress), 0.25);
  assert.equal(barOf(cancelled, progress), 0.25);
  assert.equal(barOf(finished, progress), 1);
});

test("the best loss is the last one until there is a best", () => {
  assert.equal(bestOf(progress), 1.6);
  assert.equal(bestOf({ val_loss: 1.7, best_val_loss: null }), 1.7);
  assert.equal(bestOf(null), undefined);
});

test("the title says how far it is while it runs", () => {
  assert.equal(titleOf(null, undefined), "Train");
  assert.equal(titleOf(running, progress), "25% linux");
  assert.equal(titleOf(running, null), "linux");
  assert.equal(titleOf(finished, progress), "linux");
});

test("the figures of a job that runs", () => {
  assert.deepEqual(figuresOf(running, progress), [
    ["Validation loss", "1.600", "2.308 bpc"],
    ["n-gram baseline", "2.000", "the network is 20% better"],
    ["Training loss", "1.500", ""],
    ["Step", "150", "of 600"],
    ["Characters per second", "28.3K", "CPU, 2 threads"],
    ["Time left", "2 min 5 sec", "after 40 sec"],
  ]);
});

test("the figures of a job that ended, and of one that is worse than counting", () => {
  const figures = figuresOf(finished, { ...progress, best_val_loss: 2.5 });
  assert.deepEqual(figures[1], ["n-gram baseline", "2.000", "the n-gram model is 20% better"]);
  assert.deepEqual(figures.at(-1), ["Took", "40 sec", ""]);
});

test("what is not known yet is a dash", () => {
  const figures = figuresOf(null, undefined);
  assert.ok(figures.every(([, value, aside]) => value === "–" && aside === ""));
});

test("a job that waits says for what", () => {
  const queued = "Waiting for a worker. Each worker trains one job at a time.";
  assert.equal(waitingFor({ status: "queued" }), queued);
  const running = "Preparing the text and measuring this machine's speed.";
  assert.equal(waitingFor({ status: "running" }), running);
  assert.equal(waitingFor({ status: "paused" }), "");
});

test("where no sample is, the first one is announced", () => {
  assert.equal(sampleHint(null), "None yet.");
  const asksFor = (options) => sampleHint({ ...running, options });
  assert.equal(asksFor({ sample_at: [] }), "This job draws none.");
  assert.equal(asksFor({ sample_at: [], sample_every: 9 }), sampleHint(running));
  assert.equal(sampleHint(running), "The first one comes before the first step.");
  assert.equal(sampleHint(cancelled), "It ended before its first sample.");
});

test("a sample of a step that comes again replaces those from there on", () => {
  const texts = recordOf(
    [1, "sample", { step: 0, text: "a" }],
    [2, "sample", { step: 20, text: "b" }],
    [3, "sample", { step: 40, text: "c" }],
    [4, "sample", { step: 20, text: "d" }],
  ).samples;
  assert.deepEqual(
    [...texts.values()].map(({ text }) => text),
    ["a", "d"],
  );
});

test("an error names the page's button, not an endpoint", () => {
  const detail =
    "It said last: “no”. When the cause is removed, resume it with POST /jobs/a1/resume.";
  assert.equal(withButton(detail), "It said last: “no”. When the cause is removed, press Resume.");
});
