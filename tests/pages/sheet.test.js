// A sheet's text in blocks, positions in it, and what the server told about its characters.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lastAtOrBefore } from "../../app/static/js/parts/search.js";
import { spokenOf } from "../../app/static/js/parts/sheet/alternatives.js";
import { partOf } from "../../app/static/js/parts/sheet/blocks.js";
import { jointly, Pieces } from "../../app/static/js/parts/sheet/pieces.js";
import { after, before, spansOf, startOf, unitsOf } from "../../app/static/js/parts/sheet/units.js";

/** The blocks that a text fills when it comes in pieces. */
function blocksOf(pieces) {
  const blocks = [];
  let isOpen = false;
  for (const piece of pieces) {
    let rest = piece;
    while (rest) {
      if (!isOpen) blocks.push("");
      const { size, isEnd } = partOf(rest, blocks.at(-1).length);
      blocks[blocks.length - 1] += rest.slice(0, size);
      rest = rest.slice(size);
      isOpen = !isEnd;
    }
  }
  return blocks;
}

const cutUp = (text, size) => text.match(new RegExp(`[^]{1,${size}}`, "g"));

test("a short text is one block, and stays open", () => {
  assert.deepEqual(partOf("one\ntwo\n", 0), { size: 8, isEnd: false });
});

test("a block ends with the first line end after 1,200 units", () => {
  const text = `${"x".repeat(1199)}\n${"y".repeat(50)}\nz`;
  assert.deepEqual(partOf(text, 0), { size: 1251, isEnd: true });
  assert.deepEqual(partOf(text, 1), { size: 1200, isEnd: true });
  assert.deepEqual(partOf("y\nz", 5000), { size: 2, isEnd: true });
});

test("a very long line is broken at its last space", () => {
  const words = "word ".repeat(4000);
  assert.deepEqual(partOf(`${words}end`, 0), { size: 20_000, isEnd: true });
  // Nothing to break at: the block grows on.
  assert.deepEqual(partOf("x".repeat(30_000), 0), { size: 30_000, isEnd: false });
});

for (const size of [1, 7, 1000, 100_000])
  test(`no unit is lost when ${size} come at a time`, () => {
    const lines = Array.from({ length: 300 }, (_, i) => "a b ".repeat(i % 40));
    const text = lines.join("\n");
    const blocks = blocksOf(cutUp(text, size));
    assert.equal(blocks.join(""), text);
    assert.ok(blocks.length > 10);
    for (const block of blocks.slice(0, -1)) {
      assert.ok(block.endsWith("\n"));
      assert.ok(block.length >= 1200 && block.length < 1400);
    }
  });

test("the last item at or before a value is found", () => {
  const items = [{ at: 3 }, { at: 5 }, { at: 5 }, { at: 9 }];
  const found = [2, 3, 4, 5, 8, 9, 100].map((value) => lastAtOrBefore(items, value, (i) => i.at));
  assert.deepEqual(found, [-1, 0, 0, 2, 2, 3, 3]);
  assert.equal(
    lastAtOrBefore([], 1, (i) => i),
    -1,
  );
});

const FAMILY = "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}";
const FLAG = "\u{1f1ef}\u{1f1f5}";
const KEYCAP = "1\ufe0f\u20e3";
const ACCENTED = "e\u0301";

test("positions step over whole emoji and letters with their marks", () => {
  for (const unit of ["😀", "語", FAMILY, FLAG, KEYCAP, ACCENTED, "❤\ufe0f"]) {
    const text = `a${unit}b`;
    const end = 1 + unit.length;
    assert.deepEqual([after(text, 0), after(text, 1), after(text, end)], [1, end, end + 1], unit);
    assert.deepEqual([before(text, end + 1), before(text, end), before(text, 1)], [end, 1, 0]);
    for (let at = 1; at < end; at += 1) assert.equal(startOf(text, at), 1);
    assert.deepEqual(
      [0, end, end + 1].map((at) => startOf(text, at)),
      [0, end, end + 1],
    );
    assert.equal(startOf(unit, unit.length), unit.length);
  }
});

test("a carriage return is a unit of its own, as a network knows it", () => {
  assert.deepEqual([after("\r\n", 0), before("\r\n", 2), startOf("\r\n", 1)], [1, 1, 1]);
  assert.deepEqual(unitsOf("語\r\n"), ["語", "\r", "\n"]);
});

test("a text is made of units, and each of characters", () => {
  const units = ["x", FAMILY, FLAG, FLAG, ACCENTED, "語", "\n", KEYCAP];
  assert.deepEqual(unitsOf(units.join("")), units);
  assert.deepEqual(spansOf([..."ab"]), [
    [0, 1],
    [1, 2],
  ]);
  assert.deepEqual(spansOf([...`a${FLAG}b${ACCENTED}`]), [
    [0, 1],
    [1, 3],
    [3, 4],
    [4, 6],
  ]);
});

test("far from the beginning, positions are as near it", () => {
  const text = `${"語".repeat(1000)}${FAMILY.repeat(20)}`;
  assert.equal(startOf(text, 1003), 1000);
  assert.equal(before(text, text.length), text.length - FAMILY.length);
});

test("an emoji of several characters has their joint probability, and the first's alternatives", () => {
  const pieces = new Pieces();
  const [head, tail] = [...FLAG];
  const told = (char, probability) => ({ char, probability, top: [[char, probability]] });
  pieces.add(0, JSON.stringify({ characters: [told("a", 1), told(head, 0.5)] }));
  pieces.add(3, JSON.stringify({ characters: [told(tail, 0.25)] }));
  assert.deepEqual(pieces.unitAt(1, FLAG), { char: FLAG, probability: 0.125, top: [[head, 0.5]] });
  assert.equal(pieces.unitAt(0, "a").probability, 1);
  assert.equal(pieces.unitAt(1, FAMILY), null);
  assert.equal(jointly([told(head, 0.5), told(tail, null)]).probability, null);
});

test("the details of a character are those of its piece", () => {
  const pieces = new Pieces();
  const details = (text) =>
    [...text].map((char, i) => ({ char, probability: 1 / (i + 2), top: [[char, 0.5]] }));
  const add = (start, text) =>
    pieces.add(start, JSON.stringify({ text, characters: details(text) }));
  assert.equal(pieces.at(0), null);
  add(2, "ab");
  add(4, "c😀d");
  const chars = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((position) => pieces.at(position)?.char ?? null);
  // Neither the prime nor the middle of a character is one that the server told about.
  assert.deepEqual(chars, [null, null, "a", "b", "c", "😀", null, "d", null]);
  assert.equal(pieces.at(3).probability, 1 / 3);
});

test("a branch keeps what is known before it, and nothing behind", () => {
  const pieces = new Pieces();
  const told = (text) => [...text].map((char) => ({ char, probability: 0.5, top: [] }));
  pieces.add(0, JSON.stringify({ characters: told("abcd") }));
  pieces.add(4, JSON.stringify({ characters: told("efgh") }));
  const before = pieces.before(6);
  before.add(7, JSON.stringify({ characters: told("H") }));
  const chars = [3, 5, 6, 7].map((position) => before.at(position)?.char ?? null);
  assert.deepEqual(chars, ["d", "f", null, "H"]);
  assert.equal(pieces.at(6).char, "g");
});

test("a character is read out with its alternatives", () => {
  const top = [
    [" ", 0.5],
    ["e", 0.25],
  ];
  assert.equal(
    spokenOf("e", { char: "e", probability: 0.25, top }),
    "e, 25%; 1: space 50%, 2: e 25%",
  );
  assert.equal(spokenOf("\n", null, "given"), "line end, given");
  const rare = { char: "q", probability: null, top: [["e", 0.25]] };
  assert.equal(spokenOf("q", rare), "q, –; 1: e 25%");
});
