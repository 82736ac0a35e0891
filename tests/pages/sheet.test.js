// A sheet's text in blocks, positions in it, and what the server told about its characters.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lastAtOrBefore } from "../../app/static/js/parts/search.js";
import { spokenOf } from "../../app/static/js/parts/sheet/alternatives.js";
import { partOf } from "../../app/static/js/parts/sheet/blocks.js";
import { Pieces } from "../../app/static/js/parts/sheet/pieces.js";
import { after, before, isInside } from "../../app/static/js/parts/sheet/units.js";

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

test("positions step over characters of two units", () => {
  const text = "a😀b";
  assert.deepEqual([after(text, 0), after(text, 1), after(text, 3)], [1, 3, 4]);
  assert.deepEqual([before(text, 4), before(text, 3), before(text, 1)], [3, 1, 0]);
  assert.deepEqual(
    [0, 1, 2, 3].map((at) => isInside(text, at)),
    [false, false, true, false],
  );
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
