// Inside without its page: its URL, and what a search through the cells has found.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Findings } from "../../app/static/js/views/inside/findings.js";
import { placeOf, urlOf } from "../../app/static/js/views/inside/place.js";

const place = (query) => placeOf(new URLSearchParams(query));
const nowhere = { model: null, layer: null, cell: null, mode: null };

test("a URL names the model, the cell and the picture", () => {
  const here = { model: "linux:v2", layer: 1, cell: 256, mode: "weave" };
  const url = urlOf(here);
  assert.equal(url, "/inside?model=linux%3Av2&layer=1&cell=256&picture=weave");
  assert.deepEqual(placeOf(new URL(url, "http://localhost").searchParams), here);
});

test("a URL may leave anything out", () => {
  assert.deepEqual(place(""), nowhere);
  assert.deepEqual(place("model=toy&cell=0"), { ...nowhere, model: "toy", cell: 0 });
});

test("what is wrong in a URL counts as left out", () => {
  for (const number of ["-1", "1.5", "1e3", "", "x", "123456", " 1"])
    assert.deepEqual(place({ layer: number, cell: number }), nowhere, number);
  for (const picture of ["", "other", "toString", "__proto__"])
    assert.deepEqual(place({ picture }), nowhere, picture);
});

const quotes = {
  title: "inside quotes",
  metric: "auc",
  cells: [
    { layer: 0, cell: 3, score: 0.95, sign: 1 },
    { layer: 1, cell: 7, score: 0.1, sign: -1 },
    { layer: 1, cell: 8, score: 0.8, sign: 1 },
    { layer: 1, cell: 9, score: 0.7, sign: 1 },
  ],
  excerpt: "“あ🦊”",
  activations: [0.1, 0.2, 0.3, 0.4],
};
const column = {
  title: "position in the line",
  metric: "correlation",
  cells: [{ layer: 1, cell: 7, score: -0.97, sign: -1 }],
  excerpt: "We are",
  activations: [1, 2, 3, 4, 5, 6],
};
const nothing = { ...column, title: "in a number", cells: [] };
const same = {
  ...column,
  title: "indentation",
  cells: [{ layer: 0, cell: 3, score: 0.5, sign: 1 }],
};
const found = new Findings({ hypotheses: [quotes, nothing, column, same], share: 0.05 });

test("hypotheses without a cell are left out", () => {
  assert.deepEqual(
    found.hypotheses.map(({ title }) => title),
    ["inside quotes", "position in the line", "indentation"],
  );
});

test("a cell that shows the opposite tracks as well", () => {
  const strengths = found.hypotheses.map(({ cells }) => cells[0].strength);
  assert.deepEqual(
    strengths.map((value) => value.toFixed(2)),
    ["0.90", "0.97", "0.50"],
  );
  assert.deepEqual(found.best(), { layer: 1, cell: 7 });
});

test("three cells of each hypothesis are offered", () => {
  assert.deepEqual(found.offeredIn(1), [7, 8, 7]);
  assert.deepEqual(found.offeredIn(0), [3, 3]);
  assert.deepEqual(found.offeredIn(2), []);
});

test("a cell may track several things, or none", () => {
  assert.equal(
    found.tracked({ layer: 1, cell: 7 }),
    "“inside quotes” (inverted) and “position in the line” (inverted)",
  );
  assert.equal(found.tracked({ layer: 1, cell: 9 }), "“inside quotes”");
  assert.equal(found.tracked({ layer: 0, cell: 7 }), null);
});

test("the unseen text has each excerpt once, with the best cells' activations in place", () => {
  const { text, stretches } = found.unseen();
  assert.equal(text, "“あ🦊”\nWe are");
  // Starts count characters, not the two units of the fox.
  assert.deepEqual(stretches, [
    { layer: 0, cell: 3, start: 0, values: quotes.activations },
    { layer: 1, cell: 7, start: 5, values: column.activations },
    { layer: 0, cell: 3, start: 5, values: column.activations },
  ]);
});

test("an excerpt may be missing", () => {
  const without = { ...quotes, excerpt: null, activations: null };
  const { text, stretches } = new Findings({ hypotheses: [without, column] }).unseen();
  assert.equal(text, "We are");
  assert.deepEqual(
    stretches.map(({ start }) => start),
    [0],
  );
});

test("nothing may be found", () => {
  for (const findings of [new Findings(), new Findings({ hypotheses: null, share: null })]) {
    assert.deepEqual(findings.hypotheses, []);
    assert.equal(findings.best(), undefined);
    assert.equal(findings.tracked({ layer: 0, cell: 0 }), null);
    assert.deepEqual(findings.unseen(), { text: "", stretches: [] });
  }
});
