// Which models, samples and cells About speaks of.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  comparisonOf,
  evolution,
  finest,
  runsOf,
  subjectsOf,
} from "../../app/static/js/views/about/figures.js";

const model = (name, more = {}) => ({
  name,
  model: name,
  tag: "latest",
  pretrained: false,
  ...more,
});
const LIST = { corpus: { characters: 100, lines: 10 } };

test("models that ship are spoken of, prose before lists", () => {
  const names = model("names", { pretrained: true, ...LIST });
  const linux = model("linux", { pretrained: true });
  const shakespeare = model("shakespeare", { pretrained: true });
  const old = model("linux", { tag: "mine", pretrained: true });
  const { writer, looker, shown } = subjectsOf([names, linux, old, shakespeare, model("own")]);
  assert.deepEqual([writer, looker, shown], [shakespeare, linux, [names, linux, shakespeare]]);
});

test("without them, whatever there is", () => {
  const [own, list] = [model("own"), model("list", LIST)];
  assert.deepEqual(subjectsOf([list, own]), { writer: own, looker: own, shown: [list, own] });
  assert.equal(subjectsOf([list]).writer, list);
  assert.deepEqual(subjectsOf([]), { writer: null, looker: null, shown: [] });
});

test("of many samples the first, one between and the last", () => {
  assert.deepEqual(evolution([1, 2, 3, 4, 5, 6]), [1, 4, 6]);
  assert.deepEqual(evolution([1, 2]), [1, 2]);
  assert.deepEqual(evolution([]), []);
});

test("cells that anybody understands come first", () => {
  const cell = (name, score, more) => ({
    name,
    metric: "auc",
    excerpt: "x",
    cells: [{ score }],
    ...more,
  });
  const found = finest([
    cell("digits", 0.9),
    cell("capitals", 0.99),
    cell("quotes", 0.8),
    cell("comment", 0.7),
    cell("column", 0.9, { metric: "correlation" }),
    cell("braces", 0.9, { cells: [] }),
  ]);
  assert.deepEqual(
    found.map(({ name }) => name),
    ["comment", "quotes", "capitals"],
  );
});

test("a text comes in runs of one level, turned around where the cell is", () => {
  const activations = [1, 0.9, 0.1, -0.9, -1, 0];
  assert.deepEqual(runsOf("ab🦊def", activations, 1), [
    { text: "ab", level: 2 },
    { text: "🦊", level: 0 },
    { text: "de", level: -2 },
    { text: "f", level: 0 },
  ]);
  assert.deepEqual(runsOf("ab", [1, -1], -1), [
    { text: "a", level: -2 },
    { text: "b", level: 2 },
  ]);
  for (const { level } of runsOf("f", [-0.1], 1)) assert.ok(Object.is(level, 0));
});

test("a comparison says who won", () => {
  const baseline = { bpc: 2, val_loss: 1.4, ngram_order: 6 };
  const compared = comparisonOf({ ...model("a"), bpc: 1.8, val_loss: 1.26, baseline });
  assert.equal(compared.words, "Beats the 6-gram by 10%.");
  assert.deepEqual([compared.ngram, compared.read], [2, null]);
});
