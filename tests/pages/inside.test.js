// Inside without its page: its URL, and what a search through the cells has found.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Layout } from "../../app/static/js/parts/grid/layout.js";
import { embedded } from "../../app/static/js/views/inside/embed.js";
import { Findings } from "../../app/static/js/views/inside/findings.js";
import { missingFrom, placeOf, urlOf } from "../../app/static/js/views/inside/place.js";
import { columnsFor } from "../../app/static/js/views/inside/present/fitting.js";
import { inUnits } from "../../app/static/js/views/inside/reading.js";
import { pieces } from "../../app/static/js/views/inside/slides.js";
import { correlation, tally, verdicts } from "../../app/static/js/views/inside/verdicts.js";
import { howWell } from "../../app/static/js/views/inside/words.js";

const place = (query) => placeOf(new URLSearchParams(query));
const nowhere = {
  ...{ model: null, layer: null, cell: null, mode: null },
  ...{ style: null, text: null, slide: null },
};

test("a URL names the model, the cell and the picture", () => {
  const here = { model: "linux:v2", layer: 1, cell: 256, mode: "weave" };
  const url = urlOf(here);
  assert.equal(url, "/inside?model=linux%3Av2&layer=1&cell=256&picture=weave");
  assert.deepEqual(placeOf(new URL(url, "http://localhost").searchParams), { ...nowhere, ...here });
});

test("a URL holds a style, a slide and a short text of one's own", () => {
  const here = {
    ...{ model: "both", layer: 0, cell: 1, mode: "cell" },
    ...{ style: "austen:0.7,lovecraft:0.3", text: "a+b & あ\n", slide: 2 },
  };
  assert.deepEqual(placeOf(new URL(urlOf(here), "http://localhost").searchParams), here);
});

test("a long text stays in the tab", () => {
  const kept = new Map();
  globalThis.sessionStorage = {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
  };
  const text = "long ".repeat(1000);
  const url = urlOf({ model: "toy", layer: 0, cell: 0, mode: "cell", text });
  assert.ok(url.length < 100);
  assert.equal(placeOf(new URL(url, "http://localhost").searchParams).text, text);
  // In another tab the link leads to the cell all the same.
  kept.clear();
  assert.equal(placeOf(new URL(url, "http://localhost").searchParams).text, null);
  delete globalThis.sessionStorage;
  assert.doesNotMatch(urlOf({ model: "toy", layer: 0, cell: 0, mode: "cell", text }), /own/);
});

test("a cell that does not exist is told", () => {
  const model = { model: "toy", config: { num_layers: 2, hidden_size: 24 } };
  assert.equal(missingFrom({ layer: 1, cell: 23 }, model), null);
  assert.equal(missingFrom({}, model), null);
  assert.match(
    missingFrom({ layer: 9, cell: 99 }, model),
    /no layer 9 with a cell 99: it has layers 0 to 1 with cells 0 to 23/,
  );
  assert.match(
    missingFrom({ cell: 24 }, { ...model, config: { num_layers: 1, hidden_size: 24 } }),
    /one layer, 0,/,
  );
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
  assert.deepEqual(found.best(), { layer: 0, cell: 3 });
});

test("three cells of each hypothesis are offered", () => {
  assert.deepEqual(found.offeredIn(1), [7, 8, 7]);
  assert.deepEqual(found.offeredIn(0), [3, 3]);
  assert.deepEqual(found.offeredIn(2), []);
});

test("a cell may track several things, or none", () => {
  assert.equal(
    found.tracked({ layer: 1, cell: 7 }),
    "“position in the line” (inverted) and “inside quotes” (inverted)",
  );
  assert.equal(found.tracked({ layer: 1, cell: 9 }), "“inside quotes”");
  assert.equal(found.tracked({ layer: 0, cell: 7 }), null);
});

test("nothing may be found", () => {
  for (const findings of [new Findings(), new Findings({ hypotheses: null, share: null })]) {
    assert.deepEqual(findings.hypotheses, []);
    assert.equal(findings.best(), undefined);
    assert.equal(findings.tracked({ layer: 0, cell: 0 }), null);
    assert.deepEqual(findings.passagesFor({ layer: 0, cell: 7 }), []);
  }
});

// Passages

const examples = [
  { text: "one “a”\n", style: null },
  { text: "あ🦊", style: "austen" },
  { text: "three\n", style: null },
  { text: "four\n", style: null },
  { text: "five\n", style: null },
  { text: "six\n", style: null },
];
const whole = new Findings({
  hypotheses: [
    { ...quotes, examples: [1] },
    { ...column, examples: [4, 0] },
  ],
  share: 0.1,
  passages: examples,
});

test("unseen text has first what the cell tracks, each passage with a seam", () => {
  assert.deepEqual(whole.unseen({ layer: 0, cell: 3 }), {
    text: "あ🦊\none “a”\nthree\nfour\n",
    // Seams count characters, not the two units of the fox.
    seams: [3, 11, 17],
  });
  const [first] = whole.passagesFor({ layer: 1, cell: 7 }, whole.hypotheses[1]);
  assert.equal(first.text, "five\n");
});

test("each turn has other passages, until all have been shown", () => {
  const cell = { layer: 0, cell: 3 };
  assert.equal(whole.unseen(cell, 1).text, "five\nsix\n");
  assert.deepEqual(whole.unseen(cell, 2), whole.unseen(cell, 0));
  assert.deepEqual(new Findings().unseen(cell, 3), { text: "", seams: [] });
});

test("a cell that is not inverted is shown first, if it is nearly as good", () => {
  const cells = [
    { layer: 0, cell: 1, score: 0.99, sign: -1 },
    { layer: 0, cell: 2, score: 0.97, sign: 1 },
    { layer: 0, cell: 3, score: 0.8, sign: 1 },
  ];
  const one = { ...quotes, cells };
  assert.deepEqual(new Findings({ hypotheses: [one] }).best(), { layer: 0, cell: 2 });
  const without = { ...quotes, cells: [cells[0], cells[2]] };
  assert.deepEqual(new Findings({ hypotheses: [without] }).best(), { layer: 0, cell: 1 });
});

// Verdicts

const score = { sign: 1, threshold: 0.2 };

test("a cell is right where it says what holds", () => {
  const judged = verdicts([0.5, 0.1, 0.5, 0.1, 0.9], [1, 0, 0, 1, null], score);
  assert.deepEqual(judged, [true, true, false, false, null]);
  assert.deepEqual(tally(judged), { right: 2, of: 4 });
  assert.deepEqual(tally(judged, 2), { right: 2, of: 2 });
});

test("an inverted cell says yes where it is quiet", () => {
  const inverted = { sign: -1, threshold: -0.3 };
  assert.deepEqual(verdicts([-0.5, 0], [1, 0], inverted), [true, true]);
});

test("of numbers, and without a threshold, nothing is right or wrong", () => {
  for (const one of [null, { sign: 1, threshold: null }, { sign: 1 }])
    assert.deepEqual(verdicts([1, 2], [3, 4], one), [null, null]);
  assert.equal(correlation([0.1, 0.2, 0.9, 5], [1, 2, 3, null]), 1);
  assert.equal(correlation([3, 2, 1], [10, 20, 30]), -1);
  assert.equal(correlation([1, 1, 1], [1, 2, 3]), null);
  assert.equal(correlation([1, 1, 2], [1, 1, 5]), 1);
});

// Presentations

test("a text is played in pieces that end with a line, or at a seam", () => {
  const text = [...`${"a line\n".repeat(60)}`];
  const found = pieces(text);
  assert.deepEqual(found[0], [0, 315]);
  assert.deepEqual(found.at(-1), [315, 420]);
  assert.deepEqual(pieces(text, new Set([7, 70])).slice(0, 3), [
    [0, 7],
    [7, 70],
    [70, 385],
  ]);
  assert.deepEqual(pieces([..."x".repeat(700)]), [
    [0, 320],
    [320, 640],
    [640, 700],
  ]);
  assert.deepEqual(pieces([]), []);
});

test("characters are as large as their room allows", () => {
  const plain = { isWide: () => false };
  const of = (text) => (columns, isPacked) =>
    new Layout([...text], columns, { ...plain, isPacked });
  const room = { width: 1400, height: 500, unit: 10, line: 48 };
  const verse = of("A line of verse that is read aloud\n".repeat(4));
  const { columns, isPacked } = columnsFor(verse, room);
  assert.equal(isPacked, false);
  // Four lines of 48 high at 10 wide would fit at any size above; a line fills the width.
  assert.ok(columns >= 34 && columns <= 60, String(columns));
  // Many short lines run on, or they would be too small to read.
  const code = of("x = 1\n".repeat(40));
  assert.equal(columnsFor(code, room).isPacked, true);
  // What does not fit at all is as small as can be read, and scrolls.
  assert.equal(columnsFor(of("long ".repeat(400)), room).columns, 155);
});

test("an emoji of several characters is one unit of a reading", () => {
  const told = (char, i) => ({ char, probability: 0.5, loss: 1, top: [], activations: [i / 10] });
  const characters = [..."\n🇯🇵\ne\u0301x"].map(told);
  const answer = inUnits({ characters, seams: [1, 4], bpc: 2 });
  assert.deepEqual(
    answer.characters.map(({ char }) => char),
    ["\n", "🇯🇵", "\n", "e\u0301", "x"],
  );
  const [, flag] = answer.characters;
  assert.deepEqual([flag.probability, flag.loss, flag.activations], [0.25, 2, [0.2]]);
  assert.deepEqual([answer.seams, answer.bpc], [[1, 3], 2]);
  const plain = { characters: [..."abc"].map(told), seams: [2] };
  assert.deepEqual(inUnits(plain), plain);
});

test("a picture for another page is coloured and escaped", () => {
  const html = embedded({ chars: [..."<a>&"], values: [1, 1, -0.5, 0], caption: '"x" <y>' });
  assert.match(html, /<span style="background:rgba\(255, 174, 66,1\)[^>]*>&lt;a<\/span>/);
  assert.match(html, /<span style="background:rgba\(74, 134, 228,0\.5\)[^>]*>&gt;<\/span>/);
  assert.match(html, /&quot;x&quot; &lt;y&gt;/);
  assert.doesNotMatch(html, /<a>|<script|<y>/);
});

test("how well a cell tracks something is said with counts of characters", () => {
  const cell = { score: 0.98, sign: -1, true_positive_rate: 0.957, false_positive_rate: 0.028 };
  assert.equal(
    howWell({ metric: "auc", ...cell }),
    "Inverted: it is quiet where this holds. AUC 0.98. On all unseen text it finds 96 of 100 such characters, and takes 3 of 100 others for such.",
  );
  const number = { metric: "correlation", score: 0.9, sign: 1, true_positive_rate: null };
  assert.equal(howWell(number), "It rises with the number. Correlation 0.90.");
});
