// Models without their page: the words and figures of a card, the name for an import.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pathOf } from "../../app/static/js/parts/download.js";
import { lossCurve } from "../../app/static/js/views/models/card.js";
import {
  grouped,
  lineOf,
  matching,
  moreTime,
  sorted,
} from "../../app/static/js/views/models/collection.js";
import { nameFrom } from "../../app/static/js/views/models.js";

test("a path holds the tag", () => {
  assert.equal(pathOf({ model: "toy:v1.2" }), "/models/toy%3Av1.2");
});

test("the curve is the training's loss, or the validation's where there is hardly any", () => {
  const points = [
    { step: 1, train_loss: 4, val_loss: null },
    { step: 2, train_loss: 3, val_loss: 3.5 },
    { step: 3, train_loss: null, val_loss: 3.2 },
  ];
  assert.deepEqual(lossCurve(points), [
    [2, 3.5],
    [3, 3.2],
  ]);
  assert.deepEqual(lossCurve([...points, { step: 4, train_loss: 2, val_loss: null }]), [
    [1, 4],
    [2, 3],
    [4, 2],
  ]);
  assert.deepEqual(lossCurve([]), []);
});

test("an imported model is named after its file", () => {
  const names = {
    "toy.zip": "toy",
    "Taken Away.ZIP": "taken-away",
    "Bücher (2).zip": "b-cher-2-",
    "__x.zip": "x",
    names_v2: "names_v2",
    ".zip": "",
  };
  for (const [file, name] of Object.entries(names)) assert.equal(nameFrom(file), name, file);
});

const model = (name, tag, more = {}) => ({ name, tag, model: `${name}:${tag}`, ...more });

test("tags are grouped by name, and the latest stands for it", () => {
  const groups = grouped([
    model("a", "v1"),
    model("b", "x"),
    model("a", "latest"),
    model("a", "v2"),
  ]);
  assert.deepEqual(
    groups.map(({ name, main, others }) => [name, main.tag, others.map(({ tag }) => tag)]),
    [
      ["a", "latest", ["v1", "v2"]],
      ["b", "x", []],
    ],
  );
});

test("a search finds names, tags, notes and what a model is, each word of it", () => {
  const groups = grouped([
    model("linux", "latest", { notes: "Drivers only", network: "lstm", pretrained: true }),
    model("linux", "step-100"),
    model("names", "latest", { notes: "", network: "gru", names: true }),
  ]);
  const found = (search) => matching(groups, search).map(({ name }) => name);
  assert.deepEqual(found(" "), ["linux", "names"]);
  assert.deepEqual(found("DRIV lin"), ["linux"]);
  assert.deepEqual(found("step-1"), ["linux"]);
  assert.deepEqual(found("shipped"), ["linux"]);
  assert.deepEqual(found("gru list"), ["names"]);
  assert.deepEqual(found("gru linux"), []);
});

test("what is pinned comes first, and what is not known last", () => {
  const groups = grouped([
    model("c", "latest", { bpc: 1, parameters: 5, created_at: "2026-01-01T00:00:00Z" }),
    model("a", "latest", { bpc: null, created_at: "x" }),
    model("b", "latest", {
      bpc: 2,
      parameters: 9,
      created_at: "2026-01-02T00:00:00Z",
      pinned: true,
    }),
  ]);
  const names = (order) => sorted(groups, order).map(({ name }) => name);
  assert.deepEqual(names("name"), ["b", "a", "c"]);
  for (const order of ["newest", "bpc", "largest"]) assert.deepEqual(names(order), ["b", "c", "a"]);
  assert.deepEqual(names("nonsense"), ["b", "a", "c"]);
});

test("a line of the last sample, without what is cut off", () => {
  const samples = (text) => [{ text: "old" }, { text }];
  assert.equal(lineOf(samples("rue\nKara\n\nZoë\nKar"), true), "Kara, Zoë");
  assert.equal(lineOf(samples("To be\nor not"), false), "To be ⏎ or not");
  assert.equal([...lineOf(samples("🦊".repeat(500)), false)].length, 161);
  assert.deepEqual(
    [lineOf([], false), lineOf(undefined, true), lineOf(samples(""), true)],
    ["", "", ""],
  );
});

test("more time is more of every limit, and never less", () => {
  const progress = { elapsed_seconds: 60 };
  const options = { max_seconds: 60, max_steps: 100, max_epochs: 2 };
  assert.deepEqual(moreTime({ options, progress }, 180), {
    max_seconds: 240,
    max_steps: 400,
    max_epochs: 8,
  });
  assert.deepEqual(moreTime({ options: { max_seconds: 900 }, progress }, 180), {
    max_seconds: 900,
  });
  assert.deepEqual(moreTime({ options: { max_steps: 100 }, progress: null }, 180), {
    max_seconds: 180,
    max_steps: 200,
  });
});
